import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { checkPool, checkPoolIdle } from "../../../pool/integrity.ts";
import { chainOf, ContiguousPool } from "../../../pool/mod.ts";

function poolOf(pageCount: number): ContiguousPool {
  return new ContiguousPool({ layers: 2, pageSlots: 4, pageBytes: 256, pageCount });
}

/** Of a sequence that is not compressed. */
const whole = (rawSlots: number) => ({ rawSlots, copySlots: null, keepPages: 0, codePages: 0 });

Deno.test("ContiguousPool.open reserves one run for everything, and growing inside it never fails", () => {
  const pool = poolOf(32);
  const pages = pool.open(null, 0, whole(21))!;
  assert.deepEqual(pool.runOf(pages), { first: 0, end: 12 });
  assert.equal(pages.held, 12);
  for (let slots = 1; slots <= 21; slots++) assert(pool.grow(pages, [slots, slots]));
  assert.equal(pool.availablePages, 20);
  // The last page of each layer would hold three more.
  assert(!pool.grow(pages, [25, 25]));
  checkPool(pool);
  pool.release(pages, 0);
  checkPoolIdle(pool);
  assert.throws(() => pool.release(pages, 0), AssertionError);
});

Deno.test("ContiguousPool.open answers null without a long enough run, however many pages are free", () => {
  const pool = poolOf(16);
  const all = Array.from({ length: 4 }, () => pool.open(null, 0, whole(8))!);
  for (const [i, pages] of all.entries()) if (i % 2 === 0) pool.release(pages, 0);
  assert.equal(pool.availablePages, 8);
  assert.equal(pool.runFor(() => whole(16)), Infinity);
  assert.equal(pool.open(null, 0, whole(16)), null);
  assert.equal(pool.gauges().externalFragmentation, 0.5);
  assert.equal(pool.runFor(() => whole(8)), 4);
  assert.notEqual(pool.open(null, 0, whole(8)), null);
  checkPool(pool);
});

Deno.test("ContiguousPool shares nothing", () => {
  const pool = poolOf(32), chain = chainOf([1, 2, 3, 4], 4, [], "");
  const pages = pool.open(chain, 0, whole(8))!;
  pool.grow(pages, [4, 4]);
  pool.publish(pages, 4);
  assert.equal(pool.cached(chain), 0);
});

Deno.test("ContiguousPool keeps raw cache and copy in one run until the sequence ends, and counts the zombie", () => {
  const pool = poolOf(64);
  // 2 layers × 8 raw pages, 3 kept, copies of 4 and 3 pages.
  const pages = pool.open(null, 0, { rawSlots: 32, copySlots: [16, 11], keepPages: 3, codePages: 0 })!;
  assert.equal(pool.usedPages, 26);
  assert(pool.grow(pages, [32, 32]) && pool.keep(pages, 3));
  checkPool(pool);
  assert(pool.beginReplacement(pages, [8, 3]));
  checkPool(pool);
  assert.equal(pool.usedPages, 26, "the copy has its place already");
  pool.finishReplacement(pages, 1000, 1500);
  pool.beginDecoding(pages);
  assert(pool.grow(pages, [16, 11]) && !pool.grow(pages, [17, 11]));
  checkPool(pool);
  const gauges = pool.gauges();
  assert.deepEqual(gauges.pages, { raw: 0, compressing: 0, compact: 0, decoding: 26, cached: 0, free: 38 });
  assert.equal(gauges.internalFragmentation, 1 - (16 + 11) / (26 * 4));
  pool.release(pages, 3000);
  assert.equal(pool.gauges().zombieByteSeconds, (16 + 3) * 256 * 2);
  checkPoolIdle(pool);
});

Deno.test("ContiguousPool.beginReplacement is false where no copy was reserved or a shorter one", () => {
  const pool = poolOf(64);
  const pages = pool.open(null, 0, whole(16))!;
  assert(pool.grow(pages, [16, 16]));
  assert(!pool.beginReplacement(pages, [4, 4]));
  const other = pool.open(null, 0, { rawSlots: 16, copySlots: [4, 4], keepPages: 0, codePages: 0 })!;
  assert(pool.grow(other, [16, 16]));
  assert(!pool.beginReplacement(other, [5, 4]));
  assert.equal(other.owner, "raw");
  assert(pool.beginReplacement(other, [4, 4]));
  pool.release(other, 0);
  checkPool(pool);
});

Deno.test("ContiguousPool packs inside its run: codes have their pages, what is emptied stays", () => {
  const pool = poolOf(64);
  const pages = pool.open(null, 0, { rawSlots: 16, copySlots: [12, 12], keepPages: 0, codePages: 2 })!;
  assert.equal(pool.usedPages, 8 + 6 + 2);
  assert(pool.grow(pages, [16, 16]));
  const packing = { slots: Uint32Array.of(8, 8), codePages: 2 };
  assert(pool.beginReplacement(pages, [9, 9], packing));
  checkPool(pool);
  pool.finishReplacement(pages, 0, 0);
  checkPool(pool);
  assert.equal(pool.usedPages, 16);
  // One slot behind the packed ones and three more fill the only page of each layer.
  assert.deepEqual(pages.table.tables.map(({ length }) => length), [1, 1]);
  assert(pool.grow(pages, [12, 12]) && !pool.grow(pages, [13, 12]));
  pool.release(pages, 0);
  checkPoolIdle(pool);
});
