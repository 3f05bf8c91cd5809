import { assert } from "../../lib/core/assert.ts";
import { expectShape, floats, type Operands, shares } from "./tensor.ts";

/** y[t,d] = x[t,d] · weight[d] / sqrt(mean_d(x²) + eps) */
export function rmsNorm(o: Operands<"rmsNorm">): void {
  const { rows, cols } = o.x;
  assert(!shares(o.x, o.out), "out is not x");
  expectShape(o.weight, 1, cols);
  expectShape(o.out, rows, cols);
  const x = floats(o.x), weight = floats(o.weight), out = floats(o.out);
  for (let t = 0; t < rows; t++) {
    let squares = 0;
    for (let d = 0; d < cols; d++) squares += x[t * cols + d] ** 2;
    const scale = 1 / Math.sqrt(squares / cols + o.eps);
    for (let d = 0; d < cols; d++) out[t * cols + d] = x[t * cols + d] * weight[d] * scale;
  }
}
