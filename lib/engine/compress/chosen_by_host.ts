import { JOB_WORDS, JobWord } from "../../ops/kv.ts";
import type { Tensor } from "../../ops/tensor.ts";
import type { Batch } from "./method.ts";
import { protectedCount, withProtected } from "./protect.ts";

/**
 * Kept slots chosen without the device: `slotsOf(prompt, layer, head, stored, kept)` gives one row, ascending. Where slots
 * are protected it chooses among the others, which it sees as a prompt of their own.
 */
export function chosenByHost(
  { step, jobs, shape: { kvHeads }, prompts }: Batch,
  slotsOf: (prompt: number, layer: number, head: number, stored: number, kept: number) => Uint32Array,
): Tensor {
  const words = jobs.indices.values;
  const table = new Uint32Array(jobs.jobs * kvHeads * jobs.keptMax);
  let job = 0;
  for (const [index, prompt] of prompts.entries()) {
    const { protect = [] } = prompt, fixed = protectedCount(protect);
    for (let layer = 0; layer < prompt.slots.length; layer++, job++) {
      const stored = words[JOB_WORDS * job + JobWord.slots], kept = words[JOB_WORDS * job + JobWord.kept];
      for (let head = 0; head < kvHeads; head++) {
        const choice = slotsOf(index, layer, head, stored - fixed, kept - fixed);
        const row = fixed === 0 ? choice : withProtected(stored, choice, protect);
        table.set(row, (job * kvHeads + head) * jobs.keptMax);
      }
    }
  }
  return step.uploadIndices(jobs.jobs * kvHeads, jobs.keptMax, table);
}
