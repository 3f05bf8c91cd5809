/** Slots of used pages that stay empty, on the length mixes that the pool is made for. */
import assert from "node:assert/strict";
import { type Random, seededRandom } from "../../../lib/core/random.ts";
import { checkPool, checkPoolIdle } from "../../../pool/integrity.ts";
import { KvPool } from "../../../pool/kv_pool.ts";
import type { SequencePages } from "../../../pool/sequence_pages.ts";

const LAYERS = 4, STEPS = 2000, IMAGE_TOKENS = 576;
const WASTE_MAX = 0.04;

/** A whole number from `least` to `most`, uniformly. */
function between(random: Random, least: number, most: number): number {
  return least + random.nextUint32() % (most - least + 1);
}

interface Mix {
  readonly name: string;
  readonly running: number;
  prompt(random: Random): number;
  completion(random: Random): number;
}

const MIXES: readonly Mix[] = [
  {
    name: "GQA-like: an image, 30 to 60 tokens of text, answers of 1 to 512",
    running: 64,
    prompt: (random) => IMAGE_TOKENS + between(random, 30, 60),
    completion: (random) => between(random, 1, 512),
  },
  {
    // 400 words are about 530 tokens.
    name: "MileBench-like: 2 to 31 images, 400 words, answers of 1 to 128",
    running: 16,
    prompt: (random) => between(random, 2, 31) * IMAGE_TOKENS + between(random, 480, 580),
    completion: (random) => between(random, 1, 128),
  },
];

interface Running {
  readonly pages: SequencePages;
  slots: number;
  left: number;
}

/** The worst internal fragmentation from step `from` on; one sequence begins a step, each decodes a token a step. */
function worstWaste(mix: Mix, ratio: number, from: number): number {
  const random = seededRandom(1);
  const pool = new KvPool({ layers: LAYERS, pageSlots: 16, pageBytes: 4096, pageCount: 2 ** 17 });
  const running = new Set<Running>();
  let worst = 0;
  for (let step = 0; step < STEPS; step++) {
    if (running.size < mix.running) {
      const prompt = mix.prompt(random), pages = pool.open(null, 0);
      assert(pool.grow(pages, new Array<number>(LAYERS).fill(prompt)));
      const slots = Math.ceil(prompt / ratio);
      if (ratio > 1) {
        assert(pool.beginReplacement(pages, new Array<number>(LAYERS).fill(slots)));
        pool.finishReplacement(pages, step, step);
      }
      running.add({ pages, slots, left: mix.completion(random) });
    }
    for (const sequence of running) {
      assert(pool.grow(sequence.pages, new Array<number>(LAYERS).fill(++sequence.slots)));
      if (--sequence.left > 0) continue;
      pool.release(sequence.pages);
      running.delete(sequence);
    }
    if (step >= from) worst = Math.max(worst, pool.gauges().internalFragmentation);
  }
  checkPool(pool);
  for (const { pages } of running) pool.release(pages);
  checkPoolIdle(pool);
  return worst;
}

for (const mix of MIXES) {
  Deno.test(`KvPool wastes at most 4 % inside its pages at any time, ${mix.name}`, () => {
    const waste = worstWaste(mix, 1, mix.running);
    assert(waste > 0 && waste <= WASTE_MAX, `${(100 * waste).toFixed(2)} % are unused at worst`);
  });

  // Before the longest answers end, all caches are young: 120 slots that were 600 waste up to 4.8 % then.
  Deno.test(`KvPool wastes at most 4 % inside its pages after 512 steps, compressed to a fifth, ${mix.name}`, () => {
    const waste = worstWaste(mix, 5, 512);
    assert(waste > 0 && waste <= WASTE_MAX, `${(100 * waste).toFixed(2)} % are unused at worst`);
  });
}
