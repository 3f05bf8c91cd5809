/** Draws from a seeded source: everything random in a benchmark comes from here, so that a seed gives the same run. */
import { nextFloat, type Random, seededRandom } from "../lib/core/random.ts";

/** FNV-1a over UTF-16 units: a name to a seed, so that two streams of one run share nothing. */
function seedOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

export class Draws {
  readonly #random: Random;

  constructor(name: string) {
    this.#random = seededRandom(seedOf(name));
  }

  /** Uniform in [0, 1). */
  float(): number {
    return nextFloat(this.#random);
  }

  /** Uniform whole number in [least, most]. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.float() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length - 1)];
  }

  /** An item with probability in proportion to its weight. */
  weighted<T>(items: readonly T[], weights: readonly number[]): T {
    let left = this.float() * weights.reduce((sum, weight) => sum + weight, 0);
    for (let i = 0; i < items.length - 1; i++) {
      left -= weights[i];
      if (left < 0) return items[i];
    }
    return items[items.length - 1];
  }

  /** `count` different items in random order. */
  sample<T>(items: readonly T[], count: number): T[] {
    const pool = [...items];
    for (let i = 0; i < count; i++) {
      const j = this.integer(i, pool.length - 1);
      [pool[i], pool[j]] = [pool[j], pool[i]];
    }
    return pool.slice(0, count);
  }

  shuffled<T>(items: readonly T[]): T[] {
    return this.sample(items, items.length);
  }

  /** Mean 1. */
  exponential(): number {
    return -Math.log(1 - this.float());
  }

  /** Mean 0, variance 1 (Box and Muller 1958). */
  normal(): number {
    return Math.sqrt(2 * this.exponential()) * Math.cos(2 * Math.PI * this.float());
  }

  /** Gamma with that shape and scale 1, so its mean is `shape` (Marsaglia and Tsang 2000). */
  gamma(shape: number): number {
    // Below 1: a gamma one higher, times a power of a uniform.
    if (shape < 1) return this.gamma(shape + 1) * (1 - this.float()) ** (1 / shape);
    const d = shape - 1 / 3, c = 1 / Math.sqrt(9 * d);
    while (true) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(1 - this.float()) < x * x / 2 + d - d * v + d * Math.log(v)) return d * v;
    }
  }
}
