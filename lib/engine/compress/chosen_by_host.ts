import { JOB_WORDS, JobWord } from "../../ops/kv.ts";
import type { Tensor } from "../../ops/tensor.ts";
import type { Batch } from "./method.ts";
import { protectedCount, withProtected } from "./protect.ts";

/** One KV head of one layer: `kept` of `stored` slots remain. */
export interface HostRow {
  readonly prompt: number;
  readonly layer: number;
  readonly head: number;
  readonly stored: number;
  readonly kept: number;
}

/** Writes a row's slots, ascending, from `out[at]` on: into the table of all rows, so that none has an array of its own. */
export type HostChoice = (out: Uint32Array, at: number, row: HostRow) => void;

/**
 * Kept slots chosen without the device. Where slots are protected `choose` chooses among the others, which it sees as a prompt of
 * their own.
 */
export function chosenByHost(
  { step, jobs, shape: { kvHeads }, prompts }: Batch,
  choose: HostChoice,
): Tensor {
  const words = jobs.indices.values;
  const table = new Uint32Array(jobs.jobs * kvHeads * jobs.keptMax);
  let job = 0;
  for (const [prompt, { slots, protect = [] }] of prompts.entries()) {
    const fixed = protectedCount(protect);
    for (let layer = 0; layer < slots.length; layer++, job++) {
      const all = words[JOB_WORDS * job + JobWord.slots],
        kept = words[JOB_WORDS * job + JobWord.kept] - fixed;
      for (let head = 0; head < kvHeads; head++) {
        const at = (job * kvHeads + head) * jobs.keptMax;
        const row = { prompt, layer, head, stored: all - fixed, kept };
        if (fixed === 0) {
          choose(table, at, row);
          continue;
        }
        const choice = new Uint32Array(kept);
        choose(choice, 0, row);
        table.set(withProtected(all, choice, protect), at);
      }
    }
  }
  return step.uploadIndices(jobs.jobs * kvHeads, jobs.keptMax, table);
}
