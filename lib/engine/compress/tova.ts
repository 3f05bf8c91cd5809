import { defineMethod, gatherTop, scoresOf } from "./method.ts";

/** Keeps what the last token looks at, the same of every head (TOVA, Oren et al. 2024; kvpress' TOVAPress). */
export const tova = defineMethod<Record<never, never>>({
  settings: {},
  need: () => ({ kind: "queries", window: 1 }),
  record(batch) {
    const { step, pages, jobs, shape, scale } = batch, scores = scoresOf(batch);
    step.kvWindow({ pages, jobs, shape, scale, window: 1, kernel: 1, shared: true, scores });
    gatherTop(batch, scores);
  },
});
