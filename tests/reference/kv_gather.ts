import { assert } from "../../lib/core/assert.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { expectShape, floats, type Operands, words } from "./tensor.ts";

/**
 * Target slot i of head h = source slot kept[j·kvHeads + h, i], keys and values, for i < the job's kept count; keys are
 * turned back by as many positions as the slot has come forward when there are angles.
 */
export function kvGather(o: Operands<"kvGather">): void {
  const pages = pool(o.pages), kept = words(o.kept);
  const { kvHeads, headDim } = pages.shape, half = headDim / 2;
  expectShape(o.kept, o.jobs.jobs * kvHeads, o.jobs.keptMax);
  const angles = o.rotary ? floats(o.rotary) : null;
  for (const [j, job] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      for (let i = 0; i < job.kept; i++) {
        const slot = kept[(j * kvHeads + h) * o.jobs.keptMax + i];
        assert(slot < job.slots, `slot ${slot} is stored`);
        pages.write(job.target, i, "value", h, pages.read(job.source, slot, "value", h));
        const key = pages.read(job.source, slot, "key", h);
        if (angles === null) {
          pages.write(job.target, i, "key", h, key);
          continue;
        }
        const row = angles.subarray((slot - i) * headDim, (slot - i + 1) * headDim);
        const turned = Float64Array.from(
          key,
          (k, d) =>
            d < half
              ? k * row[d] + key[d + half] * row[half + d]
              : k * row[d - half] - key[d - half] * row[d],
        );
        pages.write(job.target, i, "key", h, turned);
      }
    }
  }
}
