import { assert } from "../../lib/core/assert.ts";
import { expectShape, floats, type Operands, shares } from "./tensor.ts";

/** y = (x − mean) / sqrt(var + eps) · weight + bias, per row, biased variance. */
export function layerNorm(o: Operands<"layerNorm">): void {
  const { rows, cols } = o.x;
  assert(!shares(o.x, o.out), "out is not x");
  expectShape(o.weight, 1, cols);
  expectShape(o.bias, 1, cols);
  expectShape(o.out, rows, cols);
  const x = floats(o.x), weight = floats(o.weight), bias = floats(o.bias), out = floats(o.out);
  for (let t = 0; t < rows; t++) {
    const row = x.subarray(t * cols, (t + 1) * cols);
    let sum = 0;
    for (const value of row) sum += value;
    const mean = sum / cols;
    let squares = 0;
    for (const value of row) squares += (value - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / cols + o.eps);
    for (let d = 0; d < cols; d++) out[t * cols + d] = (row[d] - mean) * scale * weight[d] + bias[d];
  }
}
