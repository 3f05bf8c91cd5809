import type { Picture } from "./image.ts";
import { parseError } from "./parse_error.ts";

/**
 * Drops alpha from what a decoder returned, without compositing: four bytes a pixel become three.
 * Throws RequestError `image_parse_error` if the size is not what the header said.
 */
export function withoutAlpha(rgba: Uint8ClampedArray, width: number, height: number): Picture {
  const pixels = width * height;
  if (rgba.length !== pixels * 4) throw parseError("its size is not what its header says");
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0, source = 0, target = 0; i < pixels; i++, source += 4, target += 3) {
    rgb[target] = rgba[source];
    rgb[target + 1] = rgba[source + 1];
    rgb[target + 2] = rgba[source + 2];
  }
  return { width, height, rgb };
}
