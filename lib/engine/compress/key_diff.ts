import { defineMethod, gatherTop, scoresOf } from "./method.ts";

/** Keeps the slots whose keys are least like the mean direction of all (KeyDiff, Park et al. 2025; kvpress' KeyDiffPress). */
export const keyDiff = defineMethod<Record<never, never>>({
  settings: {},
  queryAgnostic: true,
  record(batch) {
    const scores = scoresOf(batch);
    batch.step.kvKeyDiff({ pages: batch.pages, jobs: batch.jobs, scores });
    gatherTop(batch, scores);
  },
});
