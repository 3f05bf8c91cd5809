/**
 * The random numbers of sampling: x = hash(seedLow), then x = hash(x ^ w) for w = seedHigh, counter, token id, all u32,
 * and u = ((x >>> 9) + 0.5) / 2²³, which f32 holds exactly and which is never 0 or 1.
 */
export function uniform(seedLow: number, seedHigh: number, counter: number, token: number): number {
  let x = hash(seedLow);
  for (const word of [seedHigh, counter, token]) x = hash(x ^ word);
  return ((x >>> 9) + 0.5) / 2 ** 23;
}

/** PCG's output permutation of a 32-bit state (Jarzynski and Olano 2020, "pcg"). */
function hash(value: number): number {
  const state = (Math.imul(value, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}
