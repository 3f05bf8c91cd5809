import { testParity } from "../support/backends.ts";
import { Draw, pairs } from "../support/cases.ts";
import { kvJobs } from "../support/kv.ts";
import { storedScores } from "../support/prompts.ts";

testParity(
  "kvChunk gives every slot its chunk's mean and the last chunk the first place",
  "reduce",
  pairs([1, 2, 3], [1, 7, 20, 200]),
  async (scope, [kvHeads, chunk]) => {
    const specs = [1, 20, 37, 140].map((slots) => ({ slots, kept: 1, source: [], target: [] }));
    const [out] = await scope.step((step) => {
      const jobs = kvJobs(step, specs), rows = jobs.jobs * kvHeads;
      const scores = step.upload(rows, jobs.slotsMax, new Draw(chunk).normal(rows * jobs.slotsMax, 1, 1));
      const out = step.tensor(rows, jobs.slotsMax);
      step.kvChunk({ jobs, kvHeads, chunk, scores, out });
      return [out];
    });
    // The last chunk's score is so large that no other would be seen beside it.
    return storedScores(out, specs, kvHeads).map((row) => row.map((score) => Math.min(score, 9)));
  },
);
