import { testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs, randomRotary } from "../support/cases.ts";
import { promptJobs, storedScores } from "../support/prompts.ts";

/** Sinks (more than one prompt has), covariance, value norm, epsilon. */
const SETTINGS = [[4, true, true, 0], [6, true, false, 0], [4, false, true, 0.01], [
  0,
  false,
  false,
  0,
]] as const;

testParity(
  "kvExpected is what the prompt's queries, turned on, are expected to look at",
  "f16",
  pairs(pairs(["f16", "f32"] as const, HEAD_SHAPES.slice(0, 4)), SETTINGS),
  async (scope, [[dtype, shape], [sinks, covariance, valueNorm, epsilon]]) => {
    const { heads, headDim, kvHeads } = shape;
    const prompts = promptJobs(scope, dtype, shape, () => heads * (headDim + headDim ** 2));
    const { pages } = prompts;
    const [scores] = await scope.step((step) => {
      // These queries are rotated; any will do here.
      const jobs = prompts.prefill(step, () => sinks, (operands) => step.keepMoments(operands));
      const scores = step.tensor(jobs.jobs * kvHeads, jobs.slotsMax);
      const rotary = step.upload(jobs.jobs, headDim, randomRotary(new Draw(1), jobs.jobs, headDim));
      const scale = 0.5 / Math.sqrt(headDim);
      step.kvExpected({ pages, jobs, shape, scale, rotary, sinks, covariance, valueNorm, epsilon, scores });
      return [scores];
    });
    // Sinks have a score above all, beside which no other would be seen.
    return storedScores(scores, prompts.jobs, kvHeads).map((row) => row.map((score) => Math.min(score, 9)));
  },
);
