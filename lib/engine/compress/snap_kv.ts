import type { Tensor } from "../../ops/tensor.ts";
import { chosenByHost } from "./chosen_by_host.ts";
import {
  type Batch,
  type BatchPrompt,
  defineMethod,
  gatherTop,
  scoresOf,
  type Setting,
  type SlotSpan,
  whole,
} from "./method.ts";
import { protectedCount } from "./protect.ts";

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

/** Of the window's slots those that are not protected. */
function freeInWindow(stored: number, window: number, protect: readonly SlotSpan[]): number {
  const past = Math.max(0, stored - window);
  const fixed = protect.reduce(
    (sum, { first, count }) => sum + Math.max(0, first + count - Math.max(first, past)),
    0,
  );
  return stored - past - fixed;
}

/**
 * Whether no more slots remain, in any layer, than the window has: its own slots go before all others, so that no score
 * decides.
 */
export function windowSuffices(
  { slots, kept, protect = [] }: BatchPrompt,
  { window_size }: WindowSettings,
): boolean {
  const fixed = protectedCount(protect);
  return slots.every((stored, layer) => kept[layer] - fixed <= freeInWindow(stored, window_size, protect));
}

/** Gathers by the window's scores, or the window's first slots where these suffice: all of its slots tie. */
export function gatherByWindow(batch: Batch, settings: WindowSettings): void {
  if (!windowSuffices(batch.prompts[0], settings)) return gatherTop(batch, windowScores(batch, settings));
  batch.gather(chosenByHost(batch, (out, at, { prompt, layer, stored, kept }) => {
    const { slots, protect = [] } = batch.prompts[prompt];
    const first = stored - freeInWindow(slots[layer], settings.window_size, protect);
    for (let i = 0; i < kept; i++) out[at + i] = first + i;
  }));
}

/** Keeps the last tokens and what they look at most (SnapKV, Li et al. 2024; kvpress' SnapKVPress). */
export const snapKv = defineMethod<WindowSettings>({
  settings: WINDOW_SETTINGS,
  need: ({ window_size }) => ({ kind: "queries", window: window_size }),
  variant: (prompt, settings) => Number(windowSuffices(prompt, settings)),
  record: gatherByWindow,
});
