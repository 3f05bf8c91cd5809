import type { Step } from "../../ops/backend.ts";
import type { KvJobs, KvPages } from "../../ops/kv.ts";

/** Keeps, per KV head, the slots with the smallest key norms (Devoto et al. 2024; kvpress' KnormPress). */
export function recordKnorm(step: Step, pages: KvPages, jobs: KvJobs): void {
  const rows = jobs.jobs * pages.shape.kvHeads;
  const scores = step.tensor(rows, jobs.slotsMax);
  step.kvNorm({ pages, jobs, scores });
  const kept = step.tensor(rows, jobs.keptMax, "u32");
  step.kvTop({ jobs, kvHeads: pages.shape.kvHeads, scores, kept });
  step.release(scores);
  step.kvGather({ pages, jobs, kept });
  step.release(kept);
}
