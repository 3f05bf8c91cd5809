import { type GifFrame, readGifFrame, readGifHeader } from "./gif_header.ts";
import type { Picture } from "./image.ts";
import { expandLzw } from "./lzw.ts";
import { parseError } from "./parse_error.ts";

/** Interlaced rows come in four passes. */
const PASSES = [{ from: 0, step: 8 }, { from: 4, step: 8 }, { from: 2, step: 4 }, { from: 1, step: 2 }];
const SEQUENTIAL = [{ from: 0, step: 1 }];

/**
 * The first picture of a GIF on its canvas. Transparent pixels keep their palette colour; where the picture does not
 * reach, the canvas has the transparent entry's colour, or the first one's. Throws RequestError `image_parse_error`.
 */
export function decodeGif(bytes: Uint8Array): Picture {
  const { width, height } = readGifHeader(bytes);
  const frame = readGifFrame(bytes);
  if (frame.left + frame.width > width || frame.top + frame.height > height) {
    throw parseError("the GIF's picture exceeds its canvas");
  }
  const indices = expandLzw(frame.codes, frame.codeBits, frame.width * frame.height);
  const colours = paletteOf(frame);
  const rgb = new Uint8Array(width * height * 3);
  if (frame.width * frame.height < width * height) fill(rgb, colours, frame.transparent ?? 0);
  let source = 0;
  for (const { from, step } of frame.interlaced ? PASSES : SEQUENTIAL) {
    for (let y = from; y < frame.height; y += step) {
      let target = ((frame.top + y) * width + frame.left) * 3;
      for (let x = 0; x < frame.width; x++, target += 3) {
        const entry = indices[source++] * 3;
        rgb[target] = colours[entry];
        rgb[target + 1] = colours[entry + 1];
        rgb[target + 2] = colours[entry + 2];
      }
    }
  }
  return { width, height, rgb };
}

/** 256 RGB entries: black beyond the file's table, a grey ramp if it has none. */
function paletteOf(frame: GifFrame): Uint8Array {
  const colours = new Uint8Array(256 * 3);
  if (frame.palette) colours.set(frame.palette);
  else for (let v = 0; v < 256; v++) colours.fill(v, v * 3, v * 3 + 3);
  return colours;
}

function fill(rgb: Uint8Array, colours: Uint8Array, index: number): void {
  const colour = colours.subarray(index * 3, index * 3 + 3);
  for (let at = 0; at < rgb.length; at += 3) rgb.set(colour, at);
}
