/**
 * A buddy allocator over units 0 … capacity − 1 (pages of the KV pool, rows of the embedding store). A block is 2^order
 * adjacent units and starts at a multiple of its size; its buddy starts at offset ^ size. All memory is taken at
 * construction; allocating and freeing touch a few words per order. What was allocated as one block can be given back in
 * parts.
 */
import { assert, AssertionError } from "../lib/core/assert.ts";

const NONE = -1;

/** Smallest order whose block holds `units` units. */
export function orderFor(units: number): number {
  return units <= 1 ? 0 : 32 - Math.clz32(units - 1);
}

/** Largest order whose block is no longer than `units` units; `units` is at least 1. */
export function orderWithin(units: number): number {
  return 31 - Math.clz32(units);
}

export class Buddy {
  readonly capacity: number;
  /** Order + 1 of the block that begins at a unit, 0 where none begins; free and allocated apart. */
  readonly #free: Uint8Array;
  readonly #allocated: Uint8Array;
  /** Free blocks of one order are a list, doubly linked through their first units. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #first: Int32Array;
  /** Bit n is set when a block of order n is free. Orders end at 30. */
  #freeOrders = 0;
  #freeUnits: number;

  /** A capacity that is no power of two begins as several blocks, longest first, each at a multiple of its size. */
  constructor(capacity: number) {
    assert(Number.isInteger(capacity) && capacity >= 0 && capacity < 2 ** 31, "a capacity is a 31-bit count");
    this.capacity = capacity;
    this.#free = new Uint8Array(capacity);
    this.#allocated = new Uint8Array(capacity);
    this.#next = new Int32Array(capacity).fill(NONE);
    this.#previous = new Int32Array(capacity).fill(NONE);
    this.#first = new Int32Array(capacity === 0 ? 0 : orderWithin(capacity) + 1).fill(NONE);
    this.#freeUnits = capacity;
    let offset = 0;
    for (let order = this.#first.length - 1; order >= 0; order--) {
      if ((capacity & (1 << order)) === 0) continue;
      this.#link(offset, order);
      offset += 1 << order;
    }
  }

  get freeUnits(): number {
    return this.#freeUnits;
  }

  get allocatedUnits(): number {
    return this.capacity - this.#freeUnits;
  }

  /** Order of the longest free block, −1 when nothing is free. */
  get largestFreeOrder(): number {
    return 31 - Math.clz32(this.#freeOrders);
  }

  /** Offset of a block of 2^order units, or null when no free block is long enough. */
  allocate(order: number): number | null {
    assert(Number.isInteger(order) && order >= 0, "an order is a whole number");
    // An order of 31 or more would wrap round in a shift; no block is that long.
    const enough = order > 30 ? 0 : this.#freeOrders & (-1 << order);
    if (enough === 0) return null;
    let from = 31 - Math.clz32(enough & -enough);
    const offset = this.#first[from];
    this.#unlink(offset, from);
    while (from > order) this.#link(offset + (1 << --from), from);
    this.#allocated[offset] = order + 1;
    this.#freeUnits -= 1 << order;
    return offset;
  }

  /** Gives back the allocated block that begins at `offset` and joins it with free buddies. Returns its order. */
  free(offset: number): number {
    assert(this.#allocated[offset] > 0, `an allocated block begins at unit ${offset}`);
    const order = this.#allocated[offset] - 1;
    this.#allocated[offset] = 0;
    this.#freeUnits += 1 << order;
    let joined = order;
    for (;;) {
      const buddy = offset ^ (1 << joined);
      if (buddy >= this.capacity || this.#free[buddy] !== joined + 1) break;
      this.#unlink(buddy, joined);
      offset = Math.min(offset, buddy);
      joined++;
    }
    this.#link(offset, joined);
    return order;
  }

  /** Offset of `units` adjacent units, or null: a block of the next power of two, whose tail goes back at once. */
  allocateRun(units: number): number | null {
    assert(Number.isInteger(units) && units > 0, "a run has units");
    const order = orderFor(units);
    const offset = this.allocate(order);
    if (offset === null) return null;
    if (units < 1 << order) this.freeRun(offset + units, (1 << order) - units);
    return offset;
  }

  /**
   * Gives back adjacent allocated units, whatever blocks they came in: a block that lies partly outside is halved until
   * a part of it is wholly inside. A few words per order and block.
   */
  freeRun(offset: number, units: number): void {
    const end = offset + units;
    while (offset < end) {
      let start = this.#blockAround(offset);
      let order = this.#allocated[start] - 1;
      while (start < offset || start + (1 << order) > end) {
        order--;
        const half = start + (1 << order);
        this.#allocated[start] = order + 1;
        this.#allocated[half] = order + 1;
        if (offset >= half) start = half;
      }
      this.free(start);
      offset = start + (1 << order);
    }
  }

  /** Every block in the order of its offset, for checks. */
  forEachBlock(visit: (offset: number, order: number, free: boolean) => void): void {
    for (let offset = 0; offset < this.capacity;) {
      const free = this.#free[offset] > 0;
      assert(free !== this.#allocated[offset] > 0, `exactly one block begins at unit ${offset}`);
      const order = (free ? this.#free : this.#allocated)[offset] - 1;
      visit(offset, order, free);
      offset += 1 << order;
    }
  }

  /** Offsets of the free blocks of each order as the lists have them, for checks. */
  freeLists(): number[][] {
    return Array.from(this.#first, (first) => {
      const list: number[] = [];
      for (let offset = first; offset !== NONE; offset = this.#next[offset]) {
        assert(list.length <= this.capacity, "a free list has an end");
        list.push(offset);
      }
      return list;
    });
  }

  /** Offset of the allocated block that holds `unit`. */
  #blockAround(unit: number): number {
    for (let order = 0; order < this.#first.length; order++) {
      const start = unit & (-1 << order);
      if (this.#allocated[start] > 0) {
        assert(unit - start < 1 << (this.#allocated[start] - 1), `unit ${unit} is allocated`);
        return start;
      }
    }
    throw new AssertionError(`unit ${unit} is allocated`);
  }

  #link(offset: number, order: number): void {
    const next = this.#first[order];
    this.#next[offset] = next;
    this.#previous[offset] = NONE;
    if (next !== NONE) this.#previous[next] = offset;
    this.#first[order] = offset;
    this.#free[offset] = order + 1;
    this.#freeOrders |= 1 << order;
  }

  #unlink(offset: number, order: number): void {
    const next = this.#next[offset], previous = this.#previous[offset];
    if (previous === NONE) {
      this.#first[order] = next;
      if (next === NONE) this.#freeOrders &= ~(1 << order);
    } else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#free[offset] = 0;
  }
}
