import type { Step } from "../../ops/backend.ts";
import type { KvJobs, KvPages } from "../../ops/kv.ts";

/** Tokens at the start that attention leans on whatever they say (StreamingLLM, Xiao et al. 2023). */
export const SINK_SLOTS = 4;

/** The kept slots of one job: the first SINK_SLOTS and the most recent ones. */
export function streamingSlots(slots: number, kept: number): Uint32Array {
  const sinks = Math.min(SINK_SLOTS, kept);
  return Uint32Array.from({ length: kept }, (_, i) => i < sinks ? i : slots - kept + i);
}

/** Keeps sinks and the most recent tokens, the same of every head. Keys stay rotated as they were. */
export function recordStreaming(step: Step, pages: KvPages, jobs: KvJobs): void {
  const { kvHeads } = pages.shape;
  const words = jobs.indices.values;
  const table = new Uint32Array(jobs.jobs * kvHeads * jobs.keptMax);
  for (let job = 0; job < jobs.jobs; job++) {
    const row = streamingSlots(words[4 * job], words[4 * job + 1]);
    for (let head = 0; head < kvHeads; head++) table.set(row, (job * kvHeads + head) * jobs.keptMax);
  }
  step.kvGather({ pages, jobs, kept: step.uploadIndices(jobs.jobs * kvHeads, jobs.keptMax, table) });
}
