import { type Orientation, swapsSides } from "./exif.ts";
import type { Picture } from "./image.ts";

/**
 * Turns a stored picture upright. Returns the same picture for orientation 1.
 *
 * Every case is a walk over the source whose steps in x and y are signed strides in the target: 2 mirrors left to right,
 * 3 turns by 180°, 4 mirrors top to bottom, 5 transposes, 6 turns clockwise, 7 transposes across, 8 turns counterclockwise.
 */
export function orient(picture: Picture, orientation: Orientation): Picture {
  if (orientation === 1) return picture;
  const { width, height, rgb } = picture;
  const swapped = swapsSides(orientation);
  const rowBytes = (swapped ? height : width) * 3;
  const across = swapped ? rowBytes : 3; // one step right in the source
  const down = swapped ? 3 : rowBytes; // one step down in the source
  const fromRight = orientation === 2 || orientation === 3 || orientation === 7 || orientation === 8;
  const fromBottom = orientation === 3 || orientation === 4 || orientation === 6 || orientation === 7;
  const stepX = fromRight ? -across : across;
  const stepY = fromBottom ? -down : down;
  const start = (fromRight ? (width - 1) * across : 0) + (fromBottom ? (height - 1) * down : 0);

  const upright = new Uint8Array(rgb.length);
  let source = 0;
  for (let y = 0; y < height; y++) {
    let target = start + y * stepY;
    for (let x = 0; x < width; x++, source += 3, target += stepX) {
      upright[target] = rgb[source];
      upright[target + 1] = rgb[source + 1];
      upright[target + 2] = rgb[source + 2];
    }
  }
  return { width: swapped ? height : width, height: swapped ? width : height, rgb: upright };
}
