import { testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { promptJobs, storedScores } from "../support/prompts.ts";

testParity(
  "kvColumns is the kept sums, over the queries that see a slot if asked, and a bias",
  "f16",
  pairs(pairs(["f16", "f32"] as const, HEAD_SHAPES), [[true, false], [false, true], [false, false]] as const),
  async (scope, [[dtype, shape], [seen, biased]]) => {
    const { headDim, kvHeads } = shape, scale = 1 / Math.sqrt(headDim);
    const prompts = promptJobs(scope, dtype, shape, (tokens) => kvHeads * tokens), { pages } = prompts;
    const [scores] = await scope.step((step) => {
      const jobs = prompts.prefill(step, () => 0, (operands) => step.keepColumns({ ...operands, scale }));
      const scores = step.tensor(jobs.jobs * kvHeads, jobs.slotsMax);
      const bias = biased
        ? step.upload(jobs.jobs, jobs.slotsMax, new Draw(1).normal(jobs.jobs * jobs.slotsMax))
        : null;
      step.kvColumns({ pages, jobs, shape, seen, bias, scores });
      return [scores];
    });
    return storedScores(scores, prompts.jobs, kvHeads);
  },
);
