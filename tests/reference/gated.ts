import { activate } from "./activation.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** out[t,i] = activation(x[t,i]) · x[t, I + i] */
export function gated(o: Operands<"gated">): void {
  const { rows, cols } = o.out;
  expectShape(o.x, rows, 2 * cols);
  const x = floats(o.x), out = floats(o.out);
  for (let t = 0; t < rows; t++) {
    for (let i = 0; i < cols; i++) {
      const gate = x[t * 2 * cols + i], up = x[t * 2 * cols + cols + i];
      out[t * cols + i] = activate(o.activation, gate) * up;
    }
  }
}
