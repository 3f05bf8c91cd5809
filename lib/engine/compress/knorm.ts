import { defineMethod, gatherTop, scoresOf } from "./method.ts";

/** Keeps, per KV head, the slots with the smallest key norms (Devoto et al. 2024; kvpress' KnormPress). */
export const knorm = defineMethod<Record<never, never>>({
  settings: {},
  queryAgnostic: true,
  record(batch) {
    const scores = scoresOf(batch);
    batch.step.kvNorm({ pages: batch.pages, jobs: batch.jobs, scores });
    gatherTop(batch, scores);
  },
});
