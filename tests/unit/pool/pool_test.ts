import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { checkPool, checkPoolIdle } from "../../../pool/integrity.ts";
import { KvPool } from "../../../pool/kv_pool.ts";
import { chainOf, type PrefixChain } from "../../../pool/prefix_chain.ts";
import type { SequencePages } from "../../../pool/sequence_pages.ts";

const LAYERS = 3, PAGE_SLOTS = 4, PAGE_BYTES = 256;

function poolOf(pageCount: number, options?: { readonly prefixCache?: boolean }): KvPool {
  return new KvPool({ layers: LAYERS, pageSlots: PAGE_SLOTS, pageBytes: PAGE_BYTES, pageCount }, options);
}

/** `count` slots in every layer. */
function slots(count: number): number[] {
  return new Array(LAYERS).fill(count);
}

function chainFor(text: string, salt = ""): PrefixChain {
  return chainOf([...text].map((letter) => letter.charCodeAt(0)), PAGE_SLOTS, [], salt);
}

/** A sequence that has stored and published this prompt, a page for four letters. */
function prefilled(pool: KvPool, text: string): SequencePages {
  const chain = chainFor(text);
  const pages = pool.open(chain, pool.cached(chain));
  assert(pool.grow(pages, slots(text.length)));
  pool.publish(pages, text.length);
  checkPool(pool);
  return pages;
}

function tablesOf(pages: SequencePages): number[][] {
  return pages.table.tables.map((table) => [...table]);
}

Deno.test("KvPool.grow takes the pages of all layers together, and says what is missing before", () => {
  const pool = poolOf(64);
  const pages = pool.open(null, 0);
  assert.equal(pool.missing(pages, [16, 13, 1]), 4 + 4 + 1);
  assert.equal(pool.pagesFor([16, 13, 1]), 9);
  assert(pool.grow(pages, [16, 13, 1]));
  assert.deepEqual(pages.table.tables.map((table) => table.length), [4, 4, 1]);
  // 9 = 8 + 1 pages: the first in turns of three layers, then two.
  assert.deepEqual(tablesOf(pages), [[0, 3, 5, 7], [1, 4, 6, 8], [2]]);
  assert.equal(pool.missing(pages, [16, 13, 4]), 0);
  checkPool(pool);
});

Deno.test("KvPool.grow takes nothing when one page is wanting", () => {
  const pool = poolOf(8);
  const pages = pool.open(null, 0);
  assert(!pool.grow(pages, slots(12)));
  assert.equal(pool.freePages, 8);
  assert.deepEqual(tablesOf(pages), [[], [], []]);
  assert(pool.grow(pages, slots(8)));
  assert.equal(pool.freePages, 2);
  checkPool(pool);
});

Deno.test("KvPool.grow finds single pages in a pool without two adjacent free ones", () => {
  const pool = new KvPool({ layers: 1, pageSlots: 4, pageBytes: 256, pageCount: 8 });
  const all = Array.from({ length: 8 }, () => pool.open(null, 0));
  for (const pages of all) pool.grow(pages, [1]);
  for (const pages of all) if (pages.table.tables[0][0] % 2 === 0) pool.release(pages);
  assert.equal(pool.largestFreeBlockPages, 1);
  const late = pool.open(null, 0);
  assert(pool.grow(late, [16]));
  assert.deepEqual([...late.table.tables[0]].sort(), [0, 2, 4, 6]);
});

Deno.test("KvPool.grow leaves the tables it has given out as they were", () => {
  const pool = poolOf(64);
  const pages = pool.open(null, 0);
  pool.grow(pages, slots(4));
  const given = [...pages.table.tables], copies = given.map((table) => [...table]);
  pool.grow(pages, [8, 4, 5]);
  assert.deepEqual(given.map((table) => [...table]), copies);
  assert.deepEqual(pages.table.tables.map((table) => table.length), [2, 1, 2]);
});

Deno.test("KvPool.open shares published pages, which count once, and cached tells them by whole pages", () => {
  const pool = poolOf(64);
  const one = prefilled(pool, "aaaabbbbcc");
  assert.equal(pool.usedPages, 9);
  const chain = chainFor("aaaabbbbdddd");
  assert.equal(pool.cached(chain), 8);
  const other = pool.open(chain, 8);
  assert.equal(pool.usedPages, 9);
  assert.equal(pool.missing(other, slots(12)), 3);
  assert(pool.grow(other, slots(12)));
  for (let layer = 0; layer < LAYERS; layer++) {
    assert.deepEqual([...other.table.tables[layer].slice(0, 2)], [...one.table.tables[layer].slice(0, 2)]);
    assert.notEqual(other.table.tables[layer][2], one.table.tables[layer][2]);
  }
  checkPool(pool);
  pool.release(one);
  pool.release(other);
  assert.equal(pool.cached(chain), 8);
  assert.equal(pool.evictablePages, 6);
  checkPoolIdle(pool);
});

Deno.test("KvPool.openingPages is by how much fewer pages are available afterwards", () => {
  const pool = poolOf(64);
  const chain = chainFor("abcdefghij");
  const opened = (cachedTokens: number) => {
    const before = pool.availablePages;
    const pages = pool.openingPages(chain, cachedTokens, slots(10));
    const sequence = pool.open(chain, cachedTokens);
    assert(pool.grow(sequence, slots(10)));
    assert.equal(before - pool.availablePages, pages, `${cachedTokens} tokens cached`);
    return { pages, sequence };
  };
  const first = opened(0);
  assert.equal(first.pages, 9);
  pool.publish(first.sequence, 10);
  // The first sequence names the two cached pages of each layer already.
  assert.equal(opened(8).pages, 3);
  pool.release(first.sequence);
  for (const sequence of [...pool.sequences]) pool.release(sequence);
  // Nobody does: they are available, and no longer when this one begins.
  assert.equal(pool.cached(chain), 8);
  assert.equal(opened(8).pages, 9);
  checkPool(pool);
});

Deno.test("KvPool.open may share fewer pages than are cached, and publish then leaves the older pages", () => {
  const pool = poolOf(64);
  const one = prefilled(pool, "aaaabbbbcccc");
  const other = pool.open(chainFor("aaaabbbbcccc"), 4);
  pool.grow(other, slots(12));
  const tables = tablesOf(other), used = pool.usedPages;
  pool.publish(other, 12);
  assert.deepEqual(tablesOf(other), tables);
  assert.equal(pool.usedPages, used);
  assert.equal(other.sharedPages, 1);
  checkPool(pool);
  pool.release(one);
  assert.equal(pool.evictablePages, 6);
  pool.release(other);
  assert.equal(pool.availablePages, 64);
  checkPoolIdle(pool);
});

Deno.test("KvPool.publish goes on where another sequence's page has been evicted meanwhile", () => {
  const pool = poolOf(18);
  const one = prefilled(pool, "aaaabbbb");
  const other = pool.open(chainFor("aaaabbbb"), 4);
  pool.grow(other, slots(8));
  pool.publish(other, 8);
  assert.equal(other.sharedPages, 1);
  pool.release(one);
  // 18 pages: 6 of `other`, 3 cached, 9 free; 12 more evict the cached page of "bbbb".
  const third = pool.open(null, 0);
  assert(pool.grow(third, slots(16)));
  assert.equal(pool.cached(chainFor("aaaabbbb")), 4);
  pool.publish(other, 8);
  assert.equal(pool.cached(chainFor("aaaabbbb")), 8);
  assert.equal(other.sharedPages, 2);
  checkPool(pool);
});

Deno.test("KvPool shares nothing between salts, without a chain, or without a prefix cache", () => {
  const pool = poolOf(64);
  prefilled(pool, "aaaabbbb");
  assert.equal(pool.cached(chainFor("aaaabbbb", "tenant")), 0);
  const without = pool.open(null, 0);
  pool.grow(without, slots(8));
  pool.publish(without, 8);
  assert.equal(without.sharedPages, 0);
  const off = poolOf(64, { prefixCache: false });
  const pages = prefilled(off, "aaaabbbb");
  assert.equal(off.cached(chainFor("aaaabbbb")), 0);
  off.release(pages);
  checkPoolIdle(off);
  assert.equal(off.freePages, 64);
});

Deno.test("KvPool.grow evicts what was let go of first, and no more than it needs", () => {
  const pool = poolOf(24);
  for (const text of ["aaaabbbb", "ccccdddd", "aaaaeeee"]) pool.release(prefilled(pool, text));
  // 5 entries of 3 pages: a, b, c, d, e. Oldest first: b, d, c, e, a (a was named again for e).
  assert.equal(pool.freePages, 9);
  const pages = pool.open(null, 0);
  const kept = () => ["aaaabbbb", "ccccdddd", "aaaaeeee"].map((text) => pool.cached(chainFor(text)));
  const expected = [[4, 8, 8], [4, 4, 8], [4, 0, 8], [4, 0, 4], [0, 0, 0]];
  assert(pool.grow(pages, slots(12)));
  assert.deepEqual(kept(), [8, 8, 8]);
  for (const [i, cached] of expected.entries()) {
    assert(pool.grow(pages, slots(16 + 4 * i)));
    assert.deepEqual(kept(), cached);
    checkPool(pool);
  }
  assert(!pool.grow(pages, slots(33)));
  assert.equal(pool.gauges().evictions, 5);
});

Deno.test("KvPool.cacheVersion changes with every page that comes or goes, and cached changes no recency", () => {
  const pool = poolOf(24);
  const versions = [pool.cacheVersion];
  const note = () => versions.push(pool.cacheVersion);
  const pages = prefilled(pool, "aaaabbbb");
  note();
  pool.release(pages);
  pool.cached(chainFor("aaaabbbb"));
  assert.equal(pool.cacheVersion, versions.at(-1));
  pool.release(prefilled(pool, "cccc"));
  note();
  // Asking for a and b has not saved them: they go first.
  pool.cached(chainFor("aaaabbbb"));
  assert(pool.grow(pool.open(null, 0), slots(28)));
  note();
  assert.equal(new Set(versions).size, versions.length);
  assert.equal(pool.cached(chainFor("aaaabbbb")), 0);
  assert.equal(pool.cached(chainFor("cccc")), 4);
});

Deno.test("KvPool.clearCache frees what no sequence names and leaves the rest", () => {
  const pool = poolOf(64);
  const running = prefilled(pool, "aaaabbbb");
  pool.release(prefilled(pool, "aaaacccc"));
  assert.equal(pool.clearCache(), 3);
  assert.equal(pool.cached(chainFor("aaaabbbb")), 8);
  pool.release(running);
  assert.equal(pool.clearCache(), 6);
  assert.equal(pool.freePages, 64);
  checkPoolIdle(pool);
});

Deno.test("KvPool.finishReplacement lets go of the raw pages and never shares the compressed ones", () => {
  const pool = poolOf(64);
  const pages = prefilled(pool, "aaaabbbbccccdd");
  assert(pool.beginReplacement(pages, [8, 4, 1]));
  assert.equal(pages.owner, "compressing");
  const target = pages.target;
  checkPool(pool);
  pool.finishReplacement(pages, 100, 350);
  assert.equal(pages.table, target);
  assert.equal(pages.owner, "compact");
  // 12 raw pages; the 9 that are cached stay as evictable.
  assert.deepEqual([pool.usedPages, pool.evictablePages], [4, 9]);
  assert.equal(pool.gauges().zombieByteSeconds, 12 * PAGE_BYTES * 0.25);
  assert.equal(pages.chain, null);
  pool.publish(pages, 4);
  assert.equal(pages.sharedPages, 0);
  pool.beginDecoding(pages);
  assert(pool.grow(pages, [9, 5, 2]));
  assert.equal(pages.owner, "decoding");
  pool.release(pages);
  assert.equal(pool.cached(chainFor("aaaabbbbccccdd")), 12);
  checkPoolIdle(pool);
});

Deno.test("KvPool.finishReplacement keeps codes, a room and the tail of a packed copy, and lets go of the rest", () => {
  const pool = poolOf(64);
  const pages = prefilled(pool, "aaaabbbbccccdd");
  const packing = { slots: Uint32Array.of(8, 4, 0), codePages: 2 };
  assert(pool.beginReplacement(pages, [10, 6, 3], packing));
  checkPool(pool);
  assert.equal(pool.usedPages, 12 + (3 + 2 + 1) + 2);
  pool.finishReplacement(pages, 0, 0);
  checkPool(pool);
  assert.deepEqual(pages.table.tables.map((table) => table.length), [1, 1, 1]);
  assert.deepEqual([...pages.table.slots], [2, 2, 3]);
  assert.deepEqual([pages.packed?.codes.length, pages.packed?.room.length], [2, 2]);
  assert.equal(pages.held, 3 + 2 + 2);
  assert.equal(pool.usedPages, 7);
  assert.equal(pool.missing(pages, [12, 9, 5]), 2, "the table has the slots behind the packed ones");
  assert(pool.grow(pages, [12, 9, 5]));
  checkPool(pool);
  pool.release(pages);
  checkPoolIdle(pool);
});

Deno.test("KvPool takes and gives back the codes of a copy with the copy itself", () => {
  const pool = poolOf(32);
  const pages = prefilled(pool, "aaaabbbb");
  const packing = { slots: Uint32Array.of(8, 8, 8), codePages: 4 };
  assert(!pool.beginReplacement(pages, slots(8), { ...packing, codePages: 21 }), "one page is wanting");
  assert.equal(pool.usedPages, 6);
  assert(pool.beginReplacement(pages, slots(8), packing));
  assert.equal(pool.usedPages, 6 + 6 + 4);
  pool.abandonReplacement(pages);
  assert.equal(pool.usedPages, 6);
  assert(pool.beginReplacement(pages, slots(8), packing));
  pool.release(pages);
  checkPoolIdle(pool);
});

Deno.test("KvPool.finishReplacement counts as zombies only pages that nobody else names", () => {
  const pool = poolOf(64);
  prefilled(pool, "aaaabbbb");
  const other = prefilled(pool, "aaaacccc");
  assert(pool.beginReplacement(other, slots(1)));
  pool.finishReplacement(other, 0, 1000);
  assert.equal(pool.gauges().zombieByteSeconds, 3 * PAGE_BYTES);
  checkPool(pool);
});

Deno.test("KvPool.beginReplacement without pages changes nothing; an abandoned one gives its pages back", () => {
  const pool = poolOf(12);
  const pages = prefilled(pool, "aaaabbbbcc");
  pool.beginDecoding(pages);
  assert(!pool.beginReplacement(pages, slots(5)));
  assert.equal(pages.owner, "decoding");
  assert(pool.beginReplacement(pages, slots(4)));
  assert.equal(pool.freePages, 0);
  pool.abandonReplacement(pages);
  assert.equal(pages.owner, "decoding");
  assert.equal(pool.freePages, 3);
  checkPool(pool);
});

Deno.test("KvPool.release gives everything back in the middle of a replacement, and only once", () => {
  const pool = poolOf(64);
  const pages = prefilled(pool, "aaaabbbb");
  pool.beginReplacement(pages, slots(2));
  pool.release(pages);
  checkPoolIdle(pool);
  assert.throws(() => pool.release(pages), AssertionError);
  assert.throws(() => pool.grow(pages, slots(1)), AssertionError);
  assert.deepEqual(tablesOf(pages), [[], [], []]);
});

Deno.test("KvPool.gauges counts every page once, for who is furthest, and says what is wasted", () => {
  const pool = poolOf(64);
  const one = prefilled(pool, "aaaabbbbc");
  const other = prefilled(pool, "aaaadddd");
  pool.beginDecoding(other);
  pool.release(prefilled(pool, "eeee"));
  const gauges = pool.gauges();
  // `other`: two shared pages a layer, "aaaa" among them; `one`: "bbbb" shared and "c" alone.
  assert.deepEqual(gauges.pages, { raw: 6, compressing: 0, compact: 0, decoding: 6, cached: 3, free: 49 });
  // 12 used pages of 4 slots; the page with "c" has 3 unused, in each of three layers.
  assert.equal(gauges.internalFragmentation, 9 / 48);
  assert.equal(gauges.externalFragmentation, 1 - 32 / 49);
  assert.equal(gauges.largestFreeBlockPages, 32);
  assert.deepEqual([gauges.lookupTokens, gauges.hitTokens], [8 + 8 + 4, 4]);
  assert.deepEqual([gauges.usedBytes, gauges.peakUsedBytes], [12 * PAGE_BYTES, 15 * PAGE_BYTES]);
  pool.beginReplacement(one, slots(1));
  assert.deepEqual(pool.gauges().pages, {
    raw: 0,
    compressing: 9,
    compact: 0,
    decoding: 6,
    cached: 3,
    free: 46,
  });
});

Deno.test("checkPoolIdle notices a sequence that was forgotten", () => {
  const pool = poolOf(64);
  pool.open(null, 0);
  assert.throws(() => checkPoolIdle(pool), AssertionError);
});

Deno.test("checkPool notices a page in two tables, a stale table, a page freed twice and a wrong count", () => {
  const broken = (breaks: (pool: KvPool, one: SequencePages, other: SequencePages) => void) => {
    const pool = poolOf(64);
    const one = prefilled(pool, "aaaabb"), other = prefilled(pool, "aaaacc");
    breaks(pool, one, other);
    assert.throws(() => checkPool(pool), AssertionError);
  };
  broken((_pool, one, other) => other.table.tables[0] = one.table.tables[0]);
  broken((_pool, one) => one.table.tables[1] = one.table.tables[1].with(0, 60));
  broken((pool, one) => pool.buddy.freeRun(one.table.tables[2][1], 1));
  broken((pool, one) => pool.counted.name(one.table.tables[0].subarray(1)));
  broken((pool) => pool.buddy.allocate(0));
  broken((_pool, one) => one.leaf = -1);
});
