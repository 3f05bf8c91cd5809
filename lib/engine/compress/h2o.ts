import { defineMethod, gatherTop, scoresOf } from "./method.ts";

/**
 * Keeps what the prompt's queries looked at, on average over those that could (H2O, Zhang et al. 2023, in the form of
 * kvpress' ObservedAttentionPress: prefill only, no recent window).
 */
export const h2o = defineMethod<Record<never, never>>({
  settings: {},
  need: () => ({ kind: "columns" }),
  record(batch) {
    const { pages, jobs, shape } = batch, scores = scoresOf(batch);
    batch.step.kvColumns({ pages, jobs, shape, seen: true, bias: null, scores });
    gatherTop(batch, scores);
  },
});
