import { testParity } from "../support/backends.ts";
import { HEAD_SHAPES, pairs } from "../support/cases.ts";
import { promptJobs, storedScores } from "../support/prompts.ts";

/** Window, kernel, shared heads; windows that some prompts do not exceed. */
const SETTINGS = [[1, 1, true], [8, 5, false], [16, 7, false], [7, 63, true]] as const;

testParity(
  "kvWindow is the smoothed attention of the last queries, and protects their own slots",
  "f16",
  pairs(pairs(["f16", "f32"] as const, HEAD_SHAPES), SETTINGS),
  async (scope, [[dtype, shape], [window, kernel, shared]]) => {
    const { heads, headDim, kvHeads } = shape, windowOf = (tokens: number) => Math.min(window, tokens);
    const prompts = promptJobs(scope, dtype, shape, (tokens) => windowOf(tokens) * heads * headDim);
    const { pages } = prompts;
    const [scores] = await scope.step((step) => {
      const jobs = prompts.prefill(step, windowOf, (operands) => step.keepQueries(operands));
      const scores = step.tensor(jobs.jobs * kvHeads, jobs.slotsMax);
      const scale = 1 / Math.sqrt(headDim);
      step.kvWindow({ pages, jobs, shape, scale, window, kernel, shared, scores });
      return [scores];
    });
    return storedScores(scores, prompts.jobs, kvHeads);
  },
);
