/** Slots of a prompt that stay whatever a method would choose: it chooses among the others. */
import type { Tensor } from "../../ops/tensor.ts";
import type { Batch, PromptShape, SlotSpan } from "./method.ts";

/** Above every score of a method (SCORE_MAX is 3e38), and a finite f32. */
const PROTECTED_SCORE = 3.4e38;

export function protectedCount(spans: readonly SlotSpan[] | undefined): number {
  return spans?.reduce((sum, { count }) => sum + count, 0) ?? 0;
}

/** The prompt without its protected slots: what a method applies its ratio or budget to. */
export function withoutProtected(prompt: PromptShape): PromptShape {
  const count = protectedCount(prompt.protect);
  return count === 0 ? prompt : { ...prompt, slots: prompt.slots.map((slots) => slots - count), protect: [] };
}

function isProtected(slot: number, spans: readonly SlotSpan[]): boolean {
  return spans.some(({ first, count }) => slot >= first && slot < first + count);
}

/** All protected slots, and of the others those that `choice` (indices among the others) names; ascending. */
export function withProtected(stored: number, choice: Uint32Array, spans: readonly SlotSpan[]): Uint32Array {
  const chosen = new Set(choice), kept: number[] = [];
  for (let slot = 0, rest = 0; slot < stored; slot++) {
    if (isProtected(slot, spans) || chosen.has(rest++)) kept.push(slot);
  }
  return Uint32Array.from(kept);
}

/** Gives the protected slots scores above all others. scores [jobs · kvHeads, slotsMax]. */
export function raiseProtected({ step, jobs, shape: { kvHeads }, prompts }: Batch, scores: Tensor): void {
  const places: number[] = [];
  let row = 0;
  for (const { slots, protect = [] } of prompts) {
    for (const end = row + slots.length * kvHeads; row < end; row++) {
      for (const { first, count } of protect) {
        for (let slot = first; slot < first + count; slot++) places.push(row * jobs.slotsMax + slot);
      }
    }
  }
  if (places.length === 0) return;
  step.scatterRows({
    x: step.upload(places.length, 1, new Float32Array(places.length).fill(PROTECTED_SCORE)),
    rows: step.indices(Uint32Array.from(places)),
    out: step.view(scores, scores.rows * scores.cols, 1),
  });
}
