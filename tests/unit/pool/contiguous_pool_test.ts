import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { ContiguousPool } from "../../../pool/contiguous_pool.ts";
import { checkPool, checkPoolIdle } from "../../../pool/integrity.ts";
import { chainOf } from "../../../pool/prefix_chain.ts";

function poolOf(pageCount: number): ContiguousPool {
  return new ContiguousPool({ layers: 2, pageSlots: 4, pageBytes: 256, pageCount });
}

Deno.test("ContiguousPool.open reserves one run for everything, and growing inside it never fails", () => {
  const pool = poolOf(32);
  const pages = pool.open(null, 0, 21)!;
  assert.deepEqual(pool.runs(pages), [{ offset: 0, pages: 12 }]);
  assert.equal(pool.freePages, 20);
  for (let slots = 1; slots <= 21; slots++) assert(pool.grow(pages, [slots, slots]));
  assert.equal(pool.freePages, 20);
  // The last page of each layer would hold three more.
  assert(!pool.grow(pages, [25, 25]));
  checkPool(pool);
  pool.release(pages);
  checkPoolIdle(pool);
});

Deno.test("ContiguousPool.open answers null without a long enough run, however many pages are free", () => {
  const pool = poolOf(16);
  const all = Array.from({ length: 4 }, () => pool.open(null, 0, 8)!);
  for (const [i, pages] of all.entries()) if (i % 2 === 0) pool.release(pages);
  assert.equal(pool.freePages, 8);
  assert.equal(pool.open(null, 0, 16), null);
  assert.notEqual(pool.open(null, 0, 8), null);
  assert.equal(pool.gauges().externalFragmentation, 0);
  checkPool(pool);
});

Deno.test("ContiguousPool shares nothing", () => {
  const pool = poolOf(32), chain = chainOf([1, 2, 3, 4], 4, [], "");
  const pages = pool.open(chain, 0, 8)!;
  pool.grow(pages, [4, 4]);
  pool.publish(pages, 4);
  assert.equal(pool.cached(chain), 0);
});

Deno.test("ContiguousPool keeps a raw cache that was compressed until its sequence ends", () => {
  const pool = poolOf(64);
  const pages = pool.open(null, 0, 40)!;
  pool.grow(pages, [32, 32]);
  assert(pool.beginReplacement(pages, [8, 3]));
  checkPool(pool);
  // 2 layers × 10 pages; the copy's run has 8 slots and the 8 that were left: 2 × 4.
  assert.equal(pool.usedPages, 28);
  pool.finishReplacement(pages, 0, 500);
  assert.equal(pool.usedPages, 28);
  assert.equal(pool.gauges().zombieByteSeconds, 20 * 256 * 0.5);
  pool.beginDecoding(pages);
  assert(pool.grow(pages, [16, 11]));
  checkPool(pool);
  const gauges = pool.gauges();
  assert.deepEqual(gauges.pages, { raw: 0, compressing: 0, compact: 0, decoding: 28, cached: 0, free: 36 });
  assert.equal(gauges.internalFragmentation, 1 - (16 + 11) / (28 * 4));
  pool.release(pages);
  checkPoolIdle(pool);
  assert.throws(() => pool.release(pages), AssertionError);
});

Deno.test("ContiguousPool.beginReplacement fails without a run; an abandoned one gives its run back", () => {
  const pool = poolOf(32);
  const pages = pool.open(null, 0, 40)!;
  pool.grow(pages, [40, 40]);
  assert(!pool.beginReplacement(pages, [20, 20]));
  assert.equal(pages.owner, "raw");
  assert(pool.beginReplacement(pages, [16, 16]));
  pool.abandonReplacement(pages);
  assert.equal(pool.usedPages, 20);
  checkPool(pool);
  assert(pool.beginReplacement(pages, [16, 16]));
  pool.release(pages);
  checkPoolIdle(pool);
});
