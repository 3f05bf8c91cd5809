import { assert } from "../../core/assert.ts";
import { keptByMeanPool, meanPoolFactor } from "./mean_pool.ts";
import { keptByRatio } from "./ratio.ts";
import { type ImageSpan, keptByLearned, type LearnedFacts } from "./segments.ts";

/** Methods of this build. `none` is the absence of a method and never reaches the engine. */
export const COMPRESSION_METHODS = ["streaming", "knorm", "mean-pool", "learned"] as const;
export type CompressionMethod = typeof COMPRESSION_METHODS[number];

/** Why `ratio` does not fit `method`, or null. */
export function ratioProblem(method: CompressionMethod, ratio: number): string | null {
  if (!(ratio > 0 && ratio < 1)) return `ratio must be above 0 and below 1, got ${ratio}`;
  if ((method === "mean-pool" || method === "learned") && meanPoolFactor(ratio) === null) {
    return `ratio of ${method} must make 1 / (1 - ratio) a whole number (0.5, 0.75, 0.8, …), got ${ratio}`;
  }
  return null;
}

/** What the learned method has to know of its compressor and a prompt. */
export interface LearnedContext {
  readonly facts: LearnedFacts;
  readonly images: readonly ImageSpan[];
}

/** The compressor for a ratio, or null when none was trained for its factor. */
export function compressorFor(compressors: readonly LearnedFacts[], ratio: number): LearnedFacts | null {
  return compressors.find(({ factor }) => factor === meanPoolFactor(ratio)) ?? null;
}

/** Why this model's compressors do not offer `ratio`. */
export function untrainedProblem(compressors: readonly LearnedFacts[], ratio: number): string {
  if (compressors.length === 0) return "this model has no learned compressor";
  const trained = compressors.map(({ factor }) => `${1 - 1 / factor} (${factor} times)`);
  return `the learned compressor of this model was trained for ${trained.join(", ")}, got ${ratio}`;
}

/** Slots that remain of `slots` stored ones; the scheduler reserves that many before the method runs. */
export function keptSlots(
  method: CompressionMethod,
  ratio: number,
  slots: number,
  learned: LearnedContext | null = null,
): number {
  switch (method) {
    case "streaming":
    case "knorm":
      return keptByRatio(ratio, slots);
    case "mean-pool":
      return keptByMeanPool(ratio, slots);
    case "learned":
      assert(learned !== null, "a factor was trained before it is taken");
      return keptByLearned(slots, learned.images, learned.facts);
  }
}
