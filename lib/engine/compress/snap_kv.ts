import type { Tensor } from "../../ops/tensor.ts";
import { type Batch, defineMethod, gatherTop, scoresOf, type Setting, whole } from "./method.ts";

export interface WindowSettings {
  readonly window_size: number;
  readonly kernel_size: number;
}

export const WINDOW_SETTINGS: { readonly [K in keyof WindowSettings]: Setting } = {
  window_size: whole(64, 1, 512),
  kernel_size: { kind: "odd", least: 1, most: 63, usual: 5 },
};

/** What the last queries look at, averaged over them and smoothed along the prompt. */
export function windowScores(batch: Batch, { window_size, kernel_size }: WindowSettings): Tensor {
  const { step, pages, jobs, shape, scale } = batch, scores = scoresOf(batch);
  step.kvWindow({
    pages,
    jobs,
    shape,
    scale,
    window: window_size,
    kernel: kernel_size,
    shared: false,
    scores,
  });
  return scores;
}

/** Keeps the last tokens and what they look at most (SnapKV, Li et al. 2024; kvpress' SnapKVPress). */
export const snapKv = defineMethod<WindowSettings>({
  settings: WINDOW_SETTINGS,
  need: ({ window_size }) => ({ kind: "queries", window: window_size }),
  record: (batch, settings) => gatherTop(batch, windowScores(batch, settings)),
});
