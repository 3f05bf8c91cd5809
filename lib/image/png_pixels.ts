import { GREY, GREY_ALPHA, PALETTE, PNG_CHANNELS, type PngHeader, RGB } from "./png_header.ts";

/** Writes one unfiltered row, `pixels` pixels that begin at `source`, as RGB to every `step`-th byte from `target`. */
export type RowWriter = (source: number, pixels: number, target: number, step: number) => void;

/**
 * The row writer for a PNG's pixel type. Alpha and tRNS are dropped without compositing. A sample of 16 bits gives its
 * high byte; a palette index without an entry is black.
 */
export function rowWriter(
  header: PngHeader,
  raw: Uint8Array,
  palette: Uint8Array,
  rgb: Uint8Array,
): RowWriter {
  if (header.depth < 8) return packedWriter(header, raw, palette, rgb);
  const sampleBytes = header.depth / 8;
  const pixelBytes = PNG_CHANNELS[header.colour] * sampleBytes;
  if (header.colour === PALETTE) {
    const colours = paletteOf(palette);
    return (source, pixels, target, step) => {
      for (let x = 0; x < pixels; x++, target += step) {
        const entry = raw[source + x] * 3;
        rgb[target] = colours[entry];
        rgb[target + 1] = colours[entry + 1];
        rgb[target + 2] = colours[entry + 2];
      }
    };
  }
  if (header.colour === GREY || header.colour === GREY_ALPHA) {
    return (source, pixels, target, step) => {
      for (let x = 0; x < pixels; x++, source += pixelBytes, target += step) {
        rgb[target] = rgb[target + 1] = rgb[target + 2] = raw[source];
      }
    };
  }
  return (source, pixels, target, step) => {
    if (header.colour === RGB && sampleBytes === 1 && step === 3) {
      rgb.set(raw.subarray(source, source + pixels * 3), target);
      return;
    }
    for (let x = 0; x < pixels; x++, source += pixelBytes, target += step) {
      rgb[target] = raw[source];
      rgb[target + 1] = raw[source + sampleBytes];
      rgb[target + 2] = raw[source + 2 * sampleBytes];
    }
  };
}

/** Several pixels a byte, the first in the high bits: grey or palette. */
function packedWriter(header: PngHeader, raw: Uint8Array, palette: Uint8Array, rgb: Uint8Array): RowWriter {
  const { depth } = header;
  const mask = (1 << depth) - 1;
  const colours = header.colour === PALETTE ? paletteOf(palette) : greyRamp(mask);
  return (source, pixels, target, step) => {
    for (let x = 0; x < pixels; x++, target += step) {
      const bit = x * depth;
      const entry = ((raw[source + (bit >> 3)] >> (8 - depth - (bit & 7))) & mask) * 3;
      rgb[target] = colours[entry];
      rgb[target + 1] = colours[entry + 1];
      rgb[target + 2] = colours[entry + 2];
    }
  };
}

/** 256 RGB entries; those the file does not give are black. */
function paletteOf(plte: Uint8Array): Uint8Array {
  const colours = new Uint8Array(256 * 3);
  colours.set(plte.subarray(0, colours.length));
  return colours;
}

/** Greys 0 … 255 for the sample values 0 … `max`. */
function greyRamp(max: number): Uint8Array {
  const colours = new Uint8Array((max + 1) * 3);
  for (let v = 0; v <= max; v++) colours.fill(v * 255 / max, v * 3, v * 3 + 3);
  return colours;
}
