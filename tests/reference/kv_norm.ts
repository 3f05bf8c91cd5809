import { listJobs, pool } from "./kv_pages.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** scores[j·kvHeads + h, slot] = −‖K‖₂; entries past a job's slots stay as they were. */
export function kvNorm(o: Operands<"kvNorm">): void {
  const pages = pool(o.pages), scores = floats(o.scores);
  const { kvHeads } = pages.shape;
  expectShape(o.scores, o.jobs.jobs * kvHeads, o.jobs.slotsMax);
  for (const [j, { slots, source }] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      for (let slot = 0; slot < slots; slot++) {
        let squares = 0;
        for (const k of pages.read(source, slot, "key", h)) squares += k * k;
        scores[(j * kvHeads + h) * o.jobs.slotsMax + slot] = -Math.sqrt(squares);
      }
    }
  }
}
