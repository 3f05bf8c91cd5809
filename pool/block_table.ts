/** Which pages hold the slots of one sequence, layer by layer, and the blocks that the pages came in. */
import { assert } from "../lib/core/assert.ts";
import { type Buddy, orderWithin } from "./buddy.ts";

export class BlockTable {
  /**
   * Page numbers, one array a layer. An array is never written to once it is here: growing replaces it, so a step
   * that was given one keeps what it was given.
   */
  readonly tables: Uint32Array[];
  /** Offsets of the blocks that are owned. A block may serve several layers. */
  readonly #blocks: number[] = [];
  #pages = 0;

  constructor(layers: number) {
    this.tables = Array.from({ length: layers }, () => new Uint32Array(0));
  }

  /** Pages of all layers together. */
  get pages(): number {
    return this.#pages;
  }

  get blocks(): readonly number[] {
    return this.#blocks;
  }

  /** Pages that are missing until layer l has wanted[l] of them. A table never shrinks. */
  missing(wanted: ArrayLike<number>): number {
    let count = 0;
    for (const [layer, table] of this.tables.entries()) count += Math.max(0, wanted[layer] - table.length);
    return count;
  }

  /**
   * Makes every layer's table at least wanted[layer] pages long. The pages of all layers are taken together, in few
   * blocks of falling orders. The caller has made sure that the pages are free.
   */
  extend(buddy: Buddy, wanted: ArrayLike<number>): void {
    assert(wanted.length === this.tables.length, "a count for each layer");
    const count = this.missing(wanted);
    if (count === 0) return;
    const fresh = this.#take(buddy, count);
    let next = 0;
    for (const [layer, table] of this.tables.entries()) {
      const more = wanted[layer] - table.length;
      if (more <= 0) continue;
      const longer = new Uint32Array(wanted[layer]);
      longer.set(table);
      longer.set(fresh.subarray(next, next + more), table.length);
      this.tables[layer] = longer;
      next += more;
    }
    this.#pages += count;
  }

  /** Gives every block back. The table is empty afterwards. */
  clear(buddy: Buddy): void {
    for (const offset of this.#blocks) buddy.free(offset);
    this.#blocks.length = 0;
    this.tables.fill(new Uint32Array(0));
    this.#pages = 0;
  }

  #take(buddy: Buddy, count: number): Uint32Array {
    const pages = new Uint32Array(count);
    for (let taken = 0; taken < count;) {
      const order = Math.min(orderWithin(count - taken), buddy.largestFreeOrder);
      const offset = order < 0 ? null : buddy.allocate(order);
      assert(offset !== null, "reserved pages are free");
      this.#blocks.push(offset);
      for (let page = 0; page < 1 << order; page++) pages[taken++] = offset + page;
    }
    return pages;
  }
}
