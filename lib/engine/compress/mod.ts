import { keptByMeanPool, meanPoolFactor } from "./mean_pool.ts";
import { keptByRatio } from "./ratio.ts";

/** Methods of this build. `none` is the absence of a method and never reaches the engine. */
export const COMPRESSION_METHODS = ["streaming", "knorm", "mean-pool"] as const;
export type CompressionMethod = typeof COMPRESSION_METHODS[number];

/** Why `ratio` does not fit `method`, or null. */
export function ratioProblem(method: CompressionMethod, ratio: number): string | null {
  if (!(ratio > 0 && ratio < 1)) return `ratio must be above 0 and below 1, got ${ratio}`;
  if (method === "mean-pool" && meanPoolFactor(ratio) === null) {
    return `ratio of mean-pool must make 1 / (1 - ratio) a whole number (0.5, 0.75, 0.8, …), got ${ratio}`;
  }
  return null;
}

/** Slots that remain of `slots` stored ones; the scheduler reserves that many before the method runs. */
export function keptSlots(method: CompressionMethod, ratio: number, slots: number): number {
  switch (method) {
    case "streaming":
    case "knorm":
      return keptByRatio(ratio, slots);
    case "mean-pool":
      return keptByMeanPool(ratio, slots);
  }
}
