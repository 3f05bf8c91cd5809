import { expectShape, floats, type Operands } from "./tensor.ts";

/** out[(i·R + r)·C + c, (ch·P + y)·P + x] = pixels[i, (ch·H + r·P + y)·W + c·P + x] */
export function patchify(o: Operands<"patchify">): void {
  const { height, width, patch } = o;
  const images = o.pixels.rows;
  const patchRows = Math.floor(height / patch), patchCols = Math.floor(width / patch);
  const values = 3 * patch * patch;
  expectShape(o.pixels, images, 3 * height * width);
  expectShape(o.out, images * patchRows * patchCols, values);
  const pixels = floats(o.pixels), out = floats(o.out);
  for (let i = 0; i < images; i++) {
    for (let r = 0; r < patchRows; r++) {
      for (let c = 0; c < patchCols; c++) {
        for (let ch = 0; ch < 3; ch++) {
          for (let y = 0; y < patch; y++) {
            const source = ((i * 3 + ch) * height + r * patch + y) * width + c * patch;
            const target = ((i * patchRows + r) * patchCols + c) * values + (ch * patch + y) * patch;
            out.set(pixels.subarray(source, source + patch), target);
          }
        }
      }
    }
  }
}
