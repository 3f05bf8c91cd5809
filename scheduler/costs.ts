/**
 * What steps cost on this device, measured. For each stage the time of a step is kept by its size in buckets of powers of
 * two, as moving averages; between buckets it is interpolated. From it follow the time that a step will take and the
 * knee of the curve: the batch beyond which a larger one saves nothing worth waiting for.
 */
import { SlotCost } from "./slot_cost.ts";
import { BATCHING_STAGES, type BatchingStage } from "./window.ts";

/** Weight of the newest step in a moving average. */
const NEWEST_SHARE = 0.2;
/** A size is at the knee when a unit costs at most this much more than in the cheapest batch seen. */
const KNEE_TOLERANCE = 1.1;
/** Batches of a device of which nothing is known yet; what they cost says how far to go on. */
const FIRST_BATCH: Readonly<Record<BatchingStage, number>> = {
  encode: 4,
  prefill: 512,
  compress: 8192,
  decode: Infinity,
};
/** 2^20 tokens are more than any step takes. */
const BUCKETS = 21;

class Curve {
  /** Moving averages of each bucket: size and milliseconds; 0 where nothing was measured. */
  readonly #sizes = new Float64Array(BUCKETS);
  readonly #times = new Float64Array(BUCKETS);

  observe(size: number, ms: number): void {
    const bucket = Math.min(BUCKETS - 1, 31 - Math.clz32(Math.max(1, size)));
    if (this.#sizes[bucket] === 0) {
      this.#sizes[bucket] = size;
      this.#times[bucket] = ms;
      return;
    }
    // One step that the machine was slow at (a page fault, another process) counts double at most.
    const counted = Math.min(ms, 2 * this.#times[bucket] + 0.1);
    this.#sizes[bucket] += NEWEST_SHARE * (size - this.#sizes[bucket]);
    this.#times[bucket] += NEWEST_SHARE * (counted - this.#times[bucket]);
  }

  /** Milliseconds of a step of `size` units; 0 while nothing is known. */
  predict(size: number): number {
    let below = -1, above = -1;
    for (let b = 0; b < BUCKETS; b++) {
      if (this.#sizes[b] === 0) continue;
      if (this.#sizes[b] <= size) below = b;
      else {
        above = b;
        break;
      }
    }
    if (below < 0) return above < 0 ? 0 : this.#times[above];
    if (above < 0) return this.#times[below] * size / this.#sizes[below];
    const share = (size - this.#sizes[below]) / (this.#sizes[above] - this.#sizes[below]);
    return this.#times[below] + share * (this.#times[above] - this.#times[below]);
  }

  /** Units from which on a larger batch costs as much a unit; twice the largest seen while that is the cheapest. */
  knee(unknown: number): number {
    let best = Infinity, largest = -1;
    for (let b = 0; b < BUCKETS; b++) {
      if (this.#sizes[b] === 0) continue;
      best = Math.min(best, this.#times[b] / this.#sizes[b]);
      largest = b;
    }
    if (largest < 0) return unknown;
    for (let b = 0; b < largest; b++) {
      if (this.#sizes[b] > 0 && this.#times[b] / this.#sizes[b] <= KNEE_TOLERANCE * best) return 2 ** (b + 1);
    }
    return 2 ** (largest + 2);
  }

  /** Units that a step may have to end within `ms`; Infinity while nothing is known. */
  within(ms: number): number {
    let below = -1;
    for (let b = 0; b < BUCKETS; b++) {
      if (this.#sizes[b] === 0) continue;
      if (this.#times[b] > ms) {
        if (below < 0) return Math.floor(this.#sizes[b] * Math.max(0, ms) / this.#times[b]);
        const share = (ms - this.#times[below]) / (this.#times[b] - this.#times[below]);
        return Math.floor(this.#sizes[below] + share * (this.#sizes[b] - this.#sizes[below]));
      }
      below = b;
    }
    return below < 0 ? Infinity : Math.floor(this.#sizes[below] * ms / this.#times[below]);
  }
}

/** Sizes: pictures of encode, tokens of prefill, stored slots of compress, sequences of decode. */
export class StageCosts {
  readonly #curves = Object.fromEntries(BATCHING_STAGES.map((stage) => [stage, new Curve()])) as Record<
    BatchingStage,
    Curve
  >;

  readonly #slotCost = new SlotCost();

  /** `slots`: stored slots of one layer that a decode step attended to, of all its sequences. */
  observe(stage: BatchingStage, size: number, ms: number, slots = 0): void {
    this.#curves[stage].observe(size, ms);
    if (slots > 0) this.#slotCost.observe(size, slots, ms);
  }

  /** Milliseconds that one more stored slot adds to a decode step; 0 while that is not known. */
  get msPerSlot(): number {
    return this.#slotCost.msPerSlot;
  }

  /** Milliseconds of a step of `size` units; 0 while nothing is known. */
  predict(stage: BatchingStage, size: number): number {
    return this.#curves[stage].predict(size);
  }

  /** The batch beyond which a unit costs no less. */
  knee(stage: BatchingStage): number {
    return this.#curves[stage].knee(FIRST_BATCH[stage]);
  }

  /** The largest batch that ends within `ms`. Infinity while nothing is known. */
  within(stage: BatchingStage, ms: number): number {
    return this.#curves[stage].within(ms);
  }
}
