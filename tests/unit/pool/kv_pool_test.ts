import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { checkPool, checkPoolIdle } from "../../../pool/integrity.ts";
import { KvPool, type SequencePages, shortageText } from "../../../pool/mod.ts";

function poolOf(pageCount: number, layers = 3): KvPool {
  return new KvPool({ layers, pageSlots: 4, pageBytes: 256, pageCount });
}

function reserved(pool: KvPool, quota: number): SequencePages {
  const reservation = pool.reserve(quota);
  assert(reservation.ok);
  return reservation.pages;
}

Deno.test("KvPool.reserve says what was needed and what is free when quotas fill the pool", () => {
  const pool = poolOf(100);
  reserved(pool, 60);
  const refused = pool.reserve(41);
  assert(!refused.ok);
  assert.equal(shortageText(refused.shortage), "Cannot reserve pages: needed 41, free 40");
  assert(pool.reserve(40).ok);
});

Deno.test("KvPool.grow serves several layers from one block", () => {
  const pool = poolOf(64);
  const pages = reserved(pool, 12);
  pool.grow(pages, [16, 16, 16]);
  // 3 layers × 4 pages = 12 = 8 + 4.
  assert.equal(pages.table.blocks.length, 2);
  assert.equal(new Set(pages.table.tables.flatMap((table) => [...table])).size, 12);
  checkPool(pool);
});

Deno.test("KvPool.grow finds single pages in a pool without two adjacent free ones", () => {
  const pool = poolOf(8, 1);
  const all = Array.from({ length: 8 }, () => reserved(pool, 1));
  for (const pages of all) pool.grow(pages, [1]);
  for (const pages of all) if (pages.table.tables[0][0] % 2 === 0) pool.release(pages);
  assert.equal(pool.largestFreeBlockPages, 1);
  const late = reserved(pool, 4);
  pool.grow(late, [16]);
  assert.deepEqual([...late.table.tables[0]].sort(), [0, 2, 4, 6]);
});

Deno.test("KvPool.grow leaves the tables it has given out as they were", () => {
  const pool = poolOf(64);
  const pages = reserved(pool, 12);
  pool.grow(pages, [4, 4, 4]);
  const given = [...pages.table.tables], copies = given.map((table) => [...table]);
  pool.grow(pages, [8, 4, 5]);
  assert.deepEqual(given.map((table) => [...table]), copies);
  assert.deepEqual(pages.table.tables.map((table) => table.length), [2, 1, 2]);
});

Deno.test("KvPool.grow refuses to leave the quota", () => {
  const pool = poolOf(64);
  const pages = reserved(pool, 3);
  pool.grow(pages, [4, 4, 4]);
  assert.throws(() => pool.grow(pages, [5, 4, 4]), AssertionError);
});

Deno.test("KvPool.finishReplacement gives the old pages back at once and keeps a smaller quota", () => {
  const pool = poolOf(64);
  const pages = reserved(pool, 18);
  pool.grow(pages, [16, 16, 16]);
  const target = pool.beginReplacement(pages, [8, 4, 1]);
  assert.equal(pool.usedPages, 12 + 4);
  checkPool(pool);
  pool.finishReplacement(pages, 6);
  assert.equal(pages.table, target);
  assert.equal(pool.usedPages, 4);
  assert.equal(pool.unpromisedPages, 58);
  checkPool(pool);
});

Deno.test("KvPool.release gives everything back in the middle of a replacement, and only once", () => {
  const pool = poolOf(64);
  const pages = reserved(pool, 18);
  pool.grow(pages, [16, 16, 16]);
  pool.beginReplacement(pages, [8, 4, 1]);
  pool.release(pages);
  checkPoolIdle(pool);
  assert.throws(() => pool.release(pages), AssertionError);
});

Deno.test("checkPoolIdle notices a sequence that was forgotten", () => {
  const pool = poolOf(64);
  reserved(pool, 1);
  assert.throws(() => checkPoolIdle(pool), AssertionError);
});

Deno.test("checkPool notices a page that stands in two tables", () => {
  const pool = poolOf(64, 1);
  const [one, other] = [reserved(pool, 4), reserved(pool, 4)];
  pool.grow(one, [4]);
  pool.grow(other, [4]);
  other.table.tables[0] = one.table.tables[0];
  assert.throws(() => checkPool(pool), AssertionError);
});
