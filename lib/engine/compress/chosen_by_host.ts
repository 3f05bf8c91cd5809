import { JOB_WORDS, JobWord } from "../../ops/kv.ts";
import type { Tensor } from "../../ops/tensor.ts";
import type { Batch } from "./method.ts";

/** Kept slots chosen without the device: `slotsOf(prompt, layer, head, stored, kept)` gives one row, ascending. */
export function chosenByHost(
  { step, jobs, shape: { kvHeads }, prompts }: Batch,
  slotsOf: (prompt: number, layer: number, head: number, stored: number, kept: number) => Uint32Array,
): Tensor {
  const words = jobs.indices.values;
  const table = new Uint32Array(jobs.jobs * kvHeads * jobs.keptMax);
  let job = 0;
  for (const [index, prompt] of prompts.entries()) {
    for (let layer = 0; layer < prompt.slots.length; layer++, job++) {
      const stored = words[JOB_WORDS * job + JobWord.slots], kept = words[JOB_WORDS * job + JobWord.kept];
      for (let head = 0; head < kvHeads; head++) {
        table.set(slotsOf(index, layer, head, stored, kept), (job * kvHeads + head) * jobs.keptMax);
      }
    }
  }
  return step.uploadIndices(jobs.jobs * kvHeads, jobs.keptMax, table);
}
