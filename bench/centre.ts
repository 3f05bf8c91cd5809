import { percentile } from "./percentile.ts";

/**
 * Hodges and Lehmann's estimate of where values lie: the median of the means of all pairs, each value with itself among
 * them. Nearly as steady as the mean where they are spread evenly, and one far value does not move it. NaN for none.
 */
export function centre(values: readonly number[]): number {
  return percentile(values.flatMap((a, i) => values.slice(i).map((b) => (a + b) / 2)), 0.5);
}
