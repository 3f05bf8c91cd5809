/** Bias and ReLU of few columns and many rows, in place: a block of columns keeps its bias in registers. */
import { doWhile, f32x4, get, I32, i32, ModuleBuilder, range, sequence, set, v128 } from "./emit.ts";
import type { Kernels, Machine } from "./machine.ts";
import { PANEL } from "./panel.ts";

/** Panels of a block: eight vectors of bias, and some to compute with. */
const BLOCK = 4;
const PANEL_BYTES = PANEL * 4;

/** Functions named `1` to `4` by their panels: (rows, bytes between them, bias, count). */
function kernelsOf(machine: Machine, relu: boolean): Kernels {
  return machine.kernels(relu ? "fold bias relu" : "fold bias", () => {
    const module = new ModuleBuilder();
    for (let panels = 1; panels <= BLOCK; panels++) {
      module.add(`${panels}`, [I32, I32, I32, I32], (f, row, rowBytes, bias, count) => {
        const biases = f.vectors(2 * panels), zero = f.splatF32(0);
        return sequence(
          ...biases.map((b, v) => set(b, v128.load(get(bias), v * 16))),
          doWhile(
            get(count),
            ...range(2 * panels).map((v) => {
              const sum = f32x4.add(v128.load(get(row), v * 16), get(biases[v]));
              return v128.store(get(row), relu ? f32x4.pmax(sum, zero) : sum, v * 16);
            }),
            set(row, i32.add(get(row), get(rowBytes))),
            set(count, i32.sub(get(count), i32.const(1))),
          ),
        );
      });
    }
    return module;
  });
}

/** rows[r, n] = relu(rows[r, n] + bias[n]), or without the ReLU. */
export function addBias(
  machine: Machine,
  relu: boolean,
  rows: number,
  rowBytes: number,
  bias: number,
  count: number,
): void {
  const kernels = kernelsOf(machine, relu);
  for (let at = 0; at < rowBytes; at += BLOCK * PANEL_BYTES) {
    const panels = Math.min(BLOCK, (rowBytes - at) / PANEL_BYTES);
    kernels[panels](rows + at, rowBytes, bias + at, count);
  }
}
