import { listJobs, pool } from "./kv_pages.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Scores from the column sums that prefill kept. */
export function kvColumns(o: Operands<"kvColumns">): void {
  const { heads, kvHeads } = o.shape;
  const pages = pool(o.pages), scores = floats(o.scores), bias = o.bias === null ? null : floats(o.bias);
  expectShape(o.scores, o.jobs.jobs * kvHeads, o.jobs.slotsMax);
  for (const [j, { slots, keep, keepBase }] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      const sums = pages.readRaw(keep, keepBase + h * slots, slots);
      for (const [slot, sum] of sums.entries()) {
        const queries = heads / kvHeads * (o.seen ? slots - slot : 1);
        scores[(j * kvHeads + h) * o.jobs.slotsMax + slot] = sum / queries +
          (bias?.[j * o.jobs.slotsMax + slot] ?? 0);
      }
    }
  }
}
