/** A scene as 96 × 96 pixels. */
import type { Picture } from "../../lib/image/image.ts";
import { Draws } from "../draws.ts";
import { shapeMask } from "./mask.ts";
import { type Scene, SIDE } from "./scene.ts";

export function render({ objects, background }: Scene): Picture {
  const pixels = new Float32Array(SIDE * SIDE * 3);
  const [dx, dy] = [Math.cos(background.angle), Math.sin(background.angle)];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const along = (x / (SIDE - 1) - 0.5) * dx + (y / (SIDE - 1) - 0.5) * dy + 0.5;
      const t = Math.max(0, Math.min(1, along));
      for (let c = 0; c < 3; c++) {
        pixels[(y * SIDE + x) * 3 + c] = background.from[c] * (1 - t) + background.to[c] * t;
      }
    }
  }
  for (const object of objects) {
    const { side, coverage } = shapeMask(object.shape, object.diameter, object.angle);
    const left = object.x - (side >> 1), top = object.y - (side >> 1);
    for (let y = Math.max(0, -top); y < side && top + y < SIDE; y++) {
      for (let x = Math.max(0, -left); x < side && left + x < SIDE; x++) {
        const at = ((top + y) * SIDE + left + x) * 3;
        const share = coverage[y * side + x];
        for (let c = 0; c < 3; c++) pixels[at + c] += (object.rgb[c] - pixels[at + c]) * share;
      }
    }
  }
  const noise = new Draws(`noise ${background.noiseSeed}`);
  const rgb = new Uint8Array(pixels.length);
  for (let i = 0; i < pixels.length; i += 3) {
    // The same for all three channels, so that noise never tints.
    const off = background.noise === 0 ? 0 : background.noise * noise.normal();
    for (let c = 0; c < 3; c++) rgb[i + c] = Math.max(0, Math.min(255, pixels[i + c] + off + 0.5));
  }
  return { width: SIDE, height: SIDE, rgb };
}
