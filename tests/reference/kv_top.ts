import { listJobs } from "./kv_pages.ts";
import { expectShape, floats, type Operands, words } from "./tensor.ts";

/** kept[row] = the slots of the largest scores, ascending by slot, ties to the lower slot. */
export function kvTop(o: Operands<"kvTop">): void {
  const { jobs, kvHeads } = o;
  expectShape(o.scores, jobs.jobs * kvHeads, jobs.slotsMax);
  expectShape(o.kept, jobs.jobs * kvHeads, jobs.keptMax);
  const scores = floats(o.scores), kept = words(o.kept);
  for (const [j, job] of listJobs(jobs).entries()) {
    for (let row = j * kvHeads; row < (j + 1) * kvHeads; row++) {
      const score = scores.subarray(row * jobs.slotsMax, row * jobs.slotsMax + job.slots);
      // The sort is stable, so equal scores stay in the order of their slots.
      const ranked = Array.from(score.keys()).sort((a, b) => score[b] - score[a]);
      kept.set(ranked.slice(0, job.kept).sort((a, b) => a - b), row * jobs.keptMax);
    }
  }
}
