import type { Step } from "../../ops/backend.ts";
import type { KvJobs, KvPages } from "../../ops/kv.ts";

/** f = 1 / (1 − ratio) when that is a whole number of at least 2 (5x is 0.8), otherwise null. */
export function meanPoolFactor(ratio: number): number | null {
  const factor = 1 / (1 - ratio);
  const whole = Math.round(factor);
  return whole >= 2 && Math.abs(factor - whole) < 1e-6 ? whole : null;
}

/** floor(slots / f) means and the remainder raw. */
export function keptByMeanPool(ratio: number, slots: number): number {
  const factor = meanPoolFactor(ratio)!;
  return Math.floor(slots / factor) + slots % factor;
}

/** Every f consecutive keys and values of a head become their mean: the trivial member of the learned family. */
export function recordMeanPool(step: Step, pages: KvPages, jobs: KvJobs, ratio: number): void {
  step.kvMean({ pages, jobs, factor: meanPoolFactor(ratio)! });
}
