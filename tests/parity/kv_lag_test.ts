import { testParity } from "../support/backends.ts";
import { HEAD_SHAPES, pairs } from "../support/cases.ts";
import { promptJobs, storedScores } from "../support/prompts.ts";

/** Partitions of two slots and more; prompts too short for two of them; no sinks. */
const SETTINGS = [[4, 8], [0, 5], [4, 33], [4, 64]] as const;
/** Of two slots one may have all the weight by keys and the other all by values: their ranks hang on the last bit. */
const PAIRS = [3, 2] as const;

for (const cross of [true, false]) {
  testParity(
    cross
      ? "kvLag scores slots by the ranges of the next partition"
      : "kvLag ranks slots within their partition",
    // Ranks of equal deviations in f32 and f64 may differ by one place; these cases have none.
    cross ? "f16" : "reduce",
    pairs(pairs(["f16", "f32"] as const, HEAD_SHAPES.slice(0, 4)), cross ? [...SETTINGS, PAIRS] : SETTINGS),
    async (scope, [[dtype, shape], [sinks, lag]]) => {
      const prompts = promptJobs(scope, dtype, shape, () => 0), { pages } = prompts;
      const [scores] = await scope.step((step) => {
        const jobs = prompts.prefill(step, () => 0, () => {});
        const scores = step.tensor(jobs.jobs * shape.kvHeads, jobs.slotsMax);
        step.kvLag({ pages, jobs, sinks, lag, cross, scores });
        return [scores];
      });
      return storedScores(scores, prompts.jobs, shape.kvHeads);
    },
  );
}
