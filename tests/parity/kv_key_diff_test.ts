import { testParity } from "../support/backends.ts";
import { HEAD_SHAPES, pairs } from "../support/cases.ts";
import { promptJobs, storedScores } from "../support/prompts.ts";

testParity(
  "kvKeyDiff is how unlike a key is to the mean direction, for jobs of different lengths",
  "f16",
  pairs(["f16", "f32"] as const, HEAD_SHAPES),
  async (scope, [dtype, shape]) => {
    const prompts = promptJobs(scope, dtype, shape, () => 0), { pages } = prompts;
    const [scores] = await scope.step((step) => {
      const jobs = prompts.prefill(step, () => 0, () => {});
      const scores = step.tensor(jobs.jobs * shape.kvHeads, jobs.slotsMax);
      step.kvKeyDiff({ pages, jobs, scores });
      return [scores];
    });
    return storedScores(scores, prompts.jobs, shape.kvHeads);
  },
);
