import { assert } from "../../lib/core/assert.ts";
import { listJobs, pool } from "./kv_pages.ts";
import type { Operands } from "./tensor.ts";

/** Target slot i = mean of source slots i·f … i·f + f − 1 for i < floor(n/f); then the remainder as it is. */
export function kvMean(o: Operands<"kvMean">): void {
  const { factor } = o;
  const pages = pool(o.pages);
  const { kvHeads, headDim } = pages.shape;
  for (const { slots, kept, source, target } of listJobs(o.jobs)) {
    const means = Math.floor(slots / factor);
    assert(kept === means + slots % factor, "the kept count is the means and the remainder");
    for (let h = 0; h < kvHeads; h++) {
      for (const part of ["key", "value"] as const) {
        for (let i = 0; i < means; i++) {
          const mean = new Float64Array(headDim);
          for (let j = 0; j < factor; j++) {
            const row = pages.read(source, i * factor + j, part, h);
            for (let d = 0; d < headDim; d++) mean[d] += row[d] / factor;
          }
          pages.write(target, i, part, h, mean);
        }
        for (let i = means; i < kept; i++) {
          pages.write(target, i, part, h, pages.read(source, means * factor + i - means, part, h));
        }
      }
    }
  }
}
