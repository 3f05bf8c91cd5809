import { percentile } from "./percentile.ts";

/** Of n values n of the n (n + 1) / 2 pairs have a far one among them: half of the pairs of 3 values. */
const PAIRED_VALUES_MIN = 4;

/**
 * Hodges and Lehmann's estimate of where values lie: the median of the means of all pairs, each value with itself among
 * them. Nearly as steady as the mean where they are spread evenly, and one far value does not move it. Of fewer than 4 values
 * one far value would: their median. NaN for none.
 */
export function centre(values: readonly number[]): number {
  const paired = values.length < PAIRED_VALUES_MIN
    ? values
    : values.flatMap((a, i) => values.slice(i).map((b) => (a + b) / 2));
  return percentile(paired, 0.5);
}
