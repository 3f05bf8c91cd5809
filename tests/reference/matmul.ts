import { assert } from "../../lib/core/assert.ts";
import { activate } from "./activation.ts";
import { weights } from "./matrix.ts";
import { expectShape, floats, type Operands, shares } from "./tensor.ts";

/** out[m,n] = residual[m,n] + activation(Σ_k x[m,k] · weight[n,k] + bias[n]); residual may be out itself. */
export function matmul(o: Operands<"matmul">): void {
  const rows = o.x.rows, depth = o.x.cols, cols = o.weight.rows;
  assert(o.weight.cols === depth, `x has ${depth} columns, the weight ${o.weight.cols}`);
  assert(!shares(o.x, o.out), "out is not x");
  expectShape(o.out, rows, cols);
  if (o.bias) expectShape(o.bias, 1, cols);
  if (o.residual) expectShape(o.residual, rows, cols);
  const x = floats(o.x), weight = weights(o.weight).values, out = floats(o.out);
  const bias = o.bias ? floats(o.bias) : null;
  const residual = o.residual ? floats(o.residual) : null;
  for (let m = 0; m < rows; m++) {
    for (let n = 0; n < cols; n++) {
      let sum = 0;
      for (let k = 0; k < depth; k++) sum += x[m * depth + k] * weight[n * depth + k];
      const value = activate(o.activation ?? "none", sum + (bias?.[n] ?? 0));
      out[m * cols + n] = value + (residual?.[m * cols + n] ?? 0);
    }
  }
}
