import type { ImageProcessorConfig, Picture, PreparedImage } from "./image.ts";

type Normalisation = Pick<ImageProcessorConfig, "rescaleFactor" | "mean" | "std">;

/**
 * Tower input [3, height, width] of an 8-bit picture: with rescaling and mean, `(u8 − mean/factor) / (std/factor)`, all
 * in float32, as the reference fuses it; with only one of them, that one. A channel has 256 values, so each is
 * computed once.
 */
export function normalise(picture: Picture, config: Normalisation): PreparedImage {
  const { width, height, rgb } = picture;
  const plane = width * height;
  const pixels = new Float32Array(3 * plane);
  for (let channel = 0; channel < 3; channel++) {
    const values = channelValues(config, channel);
    for (let i = 0, source = channel, target = channel * plane; i < plane; i++, source += 3, target++) {
      pixels[target] = values[rgb[source]];
    }
  }
  return { pixels, height, width };
}

/** What each 8-bit value of a channel becomes. */
function channelValues({ rescaleFactor, mean, std }: Normalisation, channel: number): Float32Array {
  const values = Float32Array.from({ length: 256 }, (_, value) => value);
  if (!mean || !std) {
    return rescaleFactor === null ? values : values.map((v) => v * Math.fround(rescaleFactor));
  }
  const range = rescaleFactor === null ? 1 : Math.fround(1 / rescaleFactor);
  const shift = Math.fround(Math.fround(mean[channel]) * range);
  const spread = Math.fround(Math.fround(std[channel]) * range);
  return values.map((v) => Math.fround(v - shift) / spread);
}
