/** Checks of every invariant of the pool, O(units). Throws AssertionError; run by tests, and by servers that are idle. */
import { assert } from "../lib/core/assert.ts";
import type { Buddy } from "./buddy.ts";
import type { KvPool } from "./mod.ts";

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

/** Every allocated page stands in exactly one table, owned by blocks of that table, inside quotas that fit the pool. */
export function checkPool(pool: KvPool): void {
  checkBuddy(pool.buddy);
  const orders = new Map<number, number>();
  pool.buddy.forEachBlock((offset, order, free) => {
    if (!free) orders.set(offset, order);
  });
  const named = new Set<number>();
  let promised = 0, blocks = 0;
  for (const pages of pool.sequences) {
    promised += pages.quota;
    assert(pages.held <= pages.quota, "a sequence holds no more than its quota");
    for (const table of [pages.table, pages.target]) {
      if (table === null) continue;
      const owned = new Set<number>();
      for (const offset of table.blocks) {
        const order = orders.get(offset);
        assert(order !== undefined, `the block at ${offset} is allocated`);
        blocks++;
        for (let page = offset; page < offset + 2 ** order; page++) owned.add(page);
      }
      let count = 0;
      for (const layer of table.tables) {
        count += layer.length;
        for (const page of layer) {
          assert(owned.has(page), `page ${page} is in a block of its table`);
          assert(!named.has(page), `page ${page} stands in one table`);
          named.add(page);
        }
      }
      assert(count === table.pages, "a table counts its pages");
    }
  }
  assert(blocks === orders.size, "every allocated block has one owner");
  assert(
    named.size === pool.usedPages,
    "every allocated page stands in a table",
  );
  assert(promised === pool.promisedPages && promised <= pool.shape.pageCount, "quotas fit the pool");
}

/** As {@link checkPool}, and nobody holds anything. */
export function checkPoolIdle(pool: KvPool): void {
  checkPool(pool);
  assert(pool.sequences.size === 0, "no sequence holds pages when nothing runs");
  assert(pool.promisedPages === 0, "no page is promised when nothing runs");
  checkBuddyIdle(pool.buddy);
}
