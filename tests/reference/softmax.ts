/** exp(x − log Σ exp(x)) over one row, in f64. */
export function softmax(scores: Float64Array): Float64Array {
  const normaliser = logSumExp(scores);
  return scores.map((score) => Math.exp(score - normaliser));
}

/** log Σ exp(x), without overflow. NaN when any score is NaN. */
export function logSumExp(scores: Float64Array): number {
  let largest = -Infinity;
  for (const score of scores) largest = Math.max(largest, score);
  let sum = 0;
  for (const score of scores) sum += Math.exp(score - largest);
  return largest + Math.log(sum);
}
