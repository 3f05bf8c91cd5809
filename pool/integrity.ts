/** Checks of every invariant of the pool, O(units). Throws AssertionError; run by tests, and by servers that are idle. */
import { assert } from "../lib/core/assert.ts";
import type { Buddy } from "./buddy.ts";
import { ContiguousPool } from "./contiguous_pool.ts";
import { KvPool } from "./kv_pool.ts";
import { NO_ENTRY, type PrefixCache } from "./prefix_cache.ts";
import type { Pool } from "./pool.ts";
import type { SequencePages } from "./sequence_pages.ts";

/** Blocks tile the units, lie at multiples of their size, agree with the free lists, and no two free buddies stay apart. */
export function checkBuddy(buddy: Buddy): void {
  const free = new Map<number, number>();
  let end = 0, freeUnits = 0;
  buddy.forEachBlock((offset, order, isFree) => {
    const size = 2 ** order;
    assert(offset === end, `the block at ${offset} follows the one before it`);
    assert(offset % size === 0, `the block at ${offset} lies at a multiple of its size ${size}`);
    end = offset + size;
    if (!isFree) return;
    freeUnits += size;
    free.set(offset, order);
  });
  assert(end === buddy.capacity, "blocks cover every unit");
  assert(freeUnits === buddy.freeUnits, "free blocks add up to the free count");
  for (const [offset, order] of free) {
    const other = offset ^ (2 ** order);
    assert(free.get(other) !== order, `the free block at ${offset} has no free buddy of its order`);
  }
  let listed = 0;
  for (const [order, offsets] of buddy.freeLists().entries()) {
    for (const offset of offsets) {
      assert(free.get(offset) === order, `the block at ${offset} is listed by its order`);
    }
    listed += offsets.length;
  }
  assert(listed === free.size, "every free block is listed once");
}

/** Nothing is allocated and the blocks are those of a new allocator. */
export function checkBuddyIdle(buddy: Buddy): void {
  assert(buddy.freeUnits === buddy.capacity, "nothing is allocated when nothing runs");
  const orders: number[] = [];
  buddy.forEachBlock((_offset, order) => orders.push(order));
  assert(orders.every((order, i) => i === 0 || order < orders[i - 1]), "the initial blocks are back");
}

/** Who names each page, counted anew, agrees with the counts; what is shared is a prefix entry; nothing is lost. */
export function checkPool(pool: Pool): void {
  if (pool instanceof ContiguousPool) return checkContiguousPool(pool);
  assert(pool instanceof KvPool, "every kind of pool has its check");
  checkBuddy(pool.buddy);
  const names = new Uint32Array(pool.shape.pageCount);
  const takeFor = (pages: Iterable<number>, what: string) => {
    for (const page of pages) assert(names[page]++ === 0, `page ${page} ${what}`);
  };
  for (const { entry } of pool.cache.entries()) takeFor(pool.cache.pages(entry), "is in one prefix entry");
  for (const pages of pool.sequences) {
    checkSequence(pages);
    for (const entry of sharedEntries(pool.cache, pages)) {
      for (const page of pool.cache.pages(entry)) names[page]++;
    }
    for (const table of pages.table.tables) {
      takeFor(table.subarray(pages.sharedPages), "is private to a sequence");
    }
    for (const table of apartOf(pages)) {
      takeFor(table, "is private to a sequence");
    }
  }
  for (const [page, count] of names.entries()) {
    assert(pool.counted.names(page) === count, `page ${page} counts those who name it`);
  }
  checkAllocated(pool.buddy, (page) => names[page] > 0);
  checkCache(pool);
  assert(
    pool.freePages + pool.usedPages + pool.evictablePages === pool.shape.pageCount,
    "free, used and evictable pages are all pages",
  );
}

/** As {@link checkPool}, and no sequence holds anything; without what the cache keeps, the initial blocks are back. */
export function checkPoolIdle(pool: Pool): void {
  checkPool(pool);
  assert(pool.sequences.size === 0, "no sequence holds pages when nothing runs");
  assert(pool.usedPages === 0, "no page is used when nothing runs");
  if (pool instanceof ContiguousPool || pool instanceof KvPool && pool.evictablePages === 0) {
    checkBuddyIdle(pool.buddy);
  }
}

/** Every allocated page is in one run, and what a sequence names lies in its run, each page once. */
function checkContiguousPool(pool: ContiguousPool): void {
  checkBuddy(pool.buddy);
  const owners = new Map<number, SequencePages>(), named = new Set<number>();
  for (const pages of pool.sequences) {
    checkSequence(pages);
    const { first, end } = pool.runOf(pages);
    for (let page = first; page < end; page++) {
      assert(!owners.has(page), `page ${page} is in one run`);
      owners.set(page, pages);
    }
    for (const table of [...apartOf(pages), ...pages.table.tables]) {
      for (const page of table) {
        assert(owners.get(page) === pages, `page ${page} is in the run of its sequence`);
        assert(!named.has(page), `page ${page} is named once`);
        named.add(page);
      }
    }
  }
  checkAllocated(pool.buddy, (page) => owners.has(page));
}

/** Pages that a sequence names beside those of its table; the room of a copy that is being written is the copy's. */
function apartOf({ keep, packed, target, targetPacked }: SequencePages): Uint32Array[] {
  const apart = [keep, ...target?.tables ?? []];
  if (packed !== null) apart.push(packed.codes, packed.room);
  if (targetPacked !== null) apart.push(targetPacked.codes);
  return apart;
}

/** The entries that a sequence names, deepest first; their pages are the first of its table. */
function sharedEntries(cache: PrefixCache, pages: SequencePages): number[] {
  const entries: number[] = [];
  for (let entry = pages.leaf; entry !== NO_ENTRY; entry = cache.parent(entry)) {
    entries.push(entry);
    assert(entries.length <= pages.sharedPages, "a sequence counts the entries it names");
    const index = pages.sharedPages - entries.length;
    for (const [layer, page] of cache.pages(entry).entries()) {
      assert(
        pages.table.tables[layer][index] === page,
        `page ${index} of layer ${layer} is that of its entry`,
      );
    }
  }
  assert(entries.length === pages.sharedPages, "a sequence counts the entries it names");
  return entries;
}

/** Entries have their parents, and those that no sequence names are listed, children before parents. */
function checkCache({ cache, sequences, evictablePages, shape }: KvPool): void {
  const namers = new Map<number, number>(), children = new Map<number, number>();
  for (const pages of sequences) {
    for (const entry of sharedEntries(cache, pages)) namers.set(entry, (namers.get(entry) ?? 0) + 1);
  }
  const entries = new Map<number, number>();
  for (const { entry, children } of cache.entries()) entries.set(entry, children);
  assert(entries.size === cache.size, "every entry is found by its key");
  for (const entry of entries.keys()) {
    assert(
      cache.namers(entry) === (namers.get(entry) ?? 0),
      `entry ${entry} counts the sequences that name it`,
    );
    const parent = cache.parent(entry);
    if (parent === NO_ENTRY) continue;
    assert(entries.has(parent), `the parent of entry ${entry} is there`);
    assert((namers.get(parent) ?? 0) >= (namers.get(entry) ?? 0), "who names an entry names its parent");
    children.set(parent, (children.get(parent) ?? 0) + 1);
  }
  for (const [entry, count] of entries) {
    assert((children.get(entry) ?? 0) === count, `entry ${entry} counts its children`);
  }
  const listed = new Set<number>();
  for (const entry of cache.byRecency()) {
    assert(
      entries.has(entry) && !namers.has(entry) && !listed.has(entry),
      "what is evictable is listed once",
    );
    assert(!listed.has(cache.parent(entry)), "children are evicted before their parents");
    listed.add(entry);
  }
  assert(listed.size === entries.size - namers.size, "everything that no sequence names is evictable");
  assert(listed.size * shape.layers === evictablePages, "evictable pages are counted");
}

/** A sequence is compressing while it has a target, shares only raw pages, and has a page for every slot. */
function checkSequence({ owner, target, table, chain, sharedPages }: SequencePages): void {
  assert((target !== null) === (owner === "compressing"), "a sequence has a target while it is compressed");
  assert(chain !== null || sharedPages === 0, "who has no chain shares nothing");
  for (const part of target === null ? [table] : [table, target]) {
    let pages = 0;
    for (const [layer, list] of part.tables.entries()) {
      pages += list.length;
      assert(part.slots[layer] <= list.length * part.pageSlots, "every stored slot has a page");
    }
    assert(pages === part.pages, "a table counts its pages");
    const slots = part.slots.reduce((sum, count) => sum + count, 0);
    assert(part.unusedSlots === pages * part.pageSlots - slots, "a table counts its unused slots");
  }
}

/** Exactly the pages that somebody has a claim to are allocated. */
function checkAllocated(buddy: Buddy, claimed: (page: number) => boolean): void {
  buddy.forEachBlock((offset, order, free) => {
    for (let page = offset; page < offset + 2 ** order; page++) {
      assert(free !== claimed(page), `page ${page} is allocated exactly while somebody holds it`);
    }
  });
}
