/** The formula that both attentions share. */
import { softmax } from "./softmax.ts";

/** Σ_j softmax_j(scale · query·key(j)) · value(j) for j < count, written to `out` [headDim]. */
export function attend(
  query: Float64Array,
  scale: number,
  count: number,
  key: (j: number) => ArrayLike<number>,
  value: (j: number) => ArrayLike<number>,
  out: Float64Array,
): void {
  const scores = Float64Array.from({ length: count }, (_, j) => scale * dot(query, key(j)));
  out.fill(0);
  for (const [j, weight] of softmax(scores).entries()) {
    const row = value(j);
    for (let d = 0; d < out.length; d++) out[d] += weight * row[d];
  }
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let d = 0; d < a.length; d++) sum += a[d] * b[d];
  return sum;
}
