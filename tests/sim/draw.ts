/** Draws from a seeded source. */
import { nextFloat, type Random } from "../../lib/core/random.ts";

/** Whole numbers from `low` to `high`, both included. */
export function between(random: Random, low: number, high: number): number {
  return low + random.nextUint32() % (Math.floor(high) - low + 1);
}

/** Any number from `low` to `high`. */
export function within(random: Random, low: number, high: number): number {
  return low + nextFloat(random) * (high - low);
}

export function chance(random: Random, probability: number): boolean {
  return nextFloat(random) < probability;
}

export function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.nextUint32() % values.length];
}
