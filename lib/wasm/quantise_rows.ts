/** quantise_rows: the activations of a dot product, see quantised_tile.ts. Threads take whole rows. */
import { ModuleBuilder } from "./emit.ts";
import type { Machine } from "./machine.ts";
import { groups } from "./quantised.ts";
import { addQuantiseRow, ROW_GROUP_BYTES } from "./quantised_tile.ts";

export const QuantiseWord = { x: 0, rows: 1, cols: 2, out: 3 } as const;

export function runQuantiseRows(machine: Machine, words: Uint32Array): void {
  const { quantise } = machine.kernels("quantise", () => {
    const module = new ModuleBuilder();
    addQuantiseRow(module);
    return module;
  });
  const cols = words[QuantiseWord.cols], rowBytes = groups(cols) * ROW_GROUP_BYTES;
  const [first, last] = machine.share(words[QuantiseWord.rows]);
  for (let row = first; row < last; row++) {
    quantise(words[QuantiseWord.x] + row * cols * 4, words[QuantiseWord.out] + row * rowBytes, cols * 4);
  }
}
