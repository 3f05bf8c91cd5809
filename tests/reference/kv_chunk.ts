import { SCORE_MAX } from "../../lib/ops/backend.ts";
import { listJobs } from "./kv_pages.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Every slot gets its chunk's score. */
export function kvChunk(o: Operands<"kvChunk">): void {
  const { jobs, kvHeads, chunk } = o;
  const scores = floats(o.scores), out = floats(o.out);
  expectShape(o.scores, jobs.jobs * kvHeads, jobs.slotsMax);
  expectShape(o.out, jobs.jobs * kvHeads, jobs.slotsMax);
  for (const [j, { slots }] of listJobs(jobs).entries()) {
    for (let first = 0; first < slots; first += chunk) {
      const end = Math.min(first + chunk, slots);
      let sum = 0;
      for (let h = 0; h < kvHeads; h++) {
        for (let slot = first; slot < end; slot++) sum += scores[(j * kvHeads + h) * jobs.slotsMax + slot];
      }
      const score = end === slots ? SCORE_MAX : sum / (end - first);
      for (let h = 0; h < kvHeads; h++) {
        const at = (j * kvHeads + h) * jobs.slotsMax;
        out.fill(score, at + first, at + end);
      }
    }
  }
}
