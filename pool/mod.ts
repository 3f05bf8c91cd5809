/**
 * The KV pool: who holds which pages of the device's key and value memory. Integers only; the engine is passed page
 * numbers and never asks here.
 *
 * A sequence reserves a quota before it stores its first slot and takes pages as it grows. The quotas of all sequences
 * together never exceed the pool, so growing inside a quota cannot fail, however fragmented the pool is: pages of a
 * table need not be adjacent, and every free page can be had as a block of order 0.
 */
import { assert } from "../lib/core/assert.ts";
import { Buddy } from "./buddy.ts";
import { BlockTable } from "./block_table.ts";
import { pagesForSlots } from "./page_table.ts";
import type { PoolShape } from "./pool.ts";

export { ContiguousPool } from "./contiguous_pool.ts";
export type { Pool, PoolShape } from "./pool.ts";
export type { PoolGauges } from "./gauges.ts";
export type { PageOwner } from "./sequence_pages.ts";
export { chainOf, type PlacedImage, PrefixChain } from "./prefix_chain.ts";

/** Why a reservation was not made; all in pages. */
export interface Shortage {
  readonly needed: number;
  /** Pages that no quota covers. */
  readonly free: number;
}

export type Reservation =
  | { readonly ok: true; readonly pages: SequencePages }
  | { readonly ok: false; readonly shortage: Shortage };

export function shortageText({ needed, free }: Shortage): string {
  return `Cannot reserve pages: needed ${needed}, free ${free}`;
}

/** The pages of one sequence. Only the pool changes it. */
export class SequencePages {
  /** Where the shorter cache is being written while the sequence is compressed. */
  target: BlockTable | null = null;

  constructor(public quota: number, public table: BlockTable) {}

  /** Pages taken, of both tables. */
  get held(): number {
    return this.table.pages + (this.target?.pages ?? 0);
  }
}

export class KvPool {
  readonly buddy: Buddy;
  readonly #sequences = new Set<SequencePages>();
  #promised = 0;

  constructor(readonly shape: PoolShape) {
    this.buddy = new Buddy(shape.pageCount);
  }

  /** Those who hold a quota, for checks. */
  get sequences(): ReadonlySet<SequencePages> {
    return this.#sequences;
  }

  /** Pages covered by quotas. */
  get promisedPages(): number {
    return this.#promised;
  }

  /** Pages that a new quota may cover. */
  get unpromisedPages(): number {
    return this.shape.pageCount - this.#promised;
  }

  get usedPages(): number {
    return this.buddy.allocatedUnits;
  }

  get largestFreeBlockPages(): number {
    const order = this.buddy.largestFreeOrder;
    return order < 0 ? 0 : 1 << order;
  }

  /** Pages that store slots[layer] slots in each layer. */
  pagesFor(slots: ArrayLike<number>): number {
    let pages = 0;
    for (let layer = 0; layer < this.shape.layers; layer++) {
      pages += pagesForSlots(slots[layer], this.shape.pageSlots);
    }
    return pages;
  }

  canReserve(quota: number): boolean {
    return quota <= this.unpromisedPages;
  }

  /** Promises `quota` pages to a sequence, or says how many there are. Nothing is taken yet. */
  reserve(quota: number): Reservation {
    assert(Number.isInteger(quota) && quota > 0, "a quota is a number of pages");
    if (!this.canReserve(quota)) {
      return { ok: false, shortage: { needed: quota, free: this.unpromisedPages } };
    }
    const pages = new SequencePages(quota, new BlockTable(this.shape.layers));
    this.#sequences.add(pages);
    this.#promised += quota;
    return { ok: true, pages };
  }

  /** Takes the pages that are missing until layer l can store slots[l] slots. Stays inside the quota. */
  grow(pages: SequencePages, slots: ArrayLike<number>): void {
    assert(this.#sequences.has(pages), "only a sequence with a quota grows");
    this.#extend(pages, pages.table, slots);
  }

  /** Takes the pages that a compressed cache of kept[l] slots in layer l is written to; the old ones stay. */
  beginReplacement(pages: SequencePages, kept: ArrayLike<number>): BlockTable {
    assert(this.#sequences.has(pages), "only a sequence with a quota is compressed");
    assert(pages.target === null, "a sequence is compressed once at a time");
    pages.target = new BlockTable(this.shape.layers);
    this.#extend(pages, pages.target, kept);
    return pages.target;
  }

  /** The compressed cache is written: the old pages go back, and so does the part of the quota beyond `quota`. */
  finishReplacement(pages: SequencePages, quota: number): void {
    assert(this.#sequences.has(pages), "only a sequence with a quota is compressed");
    assert(pages.target !== null, "a replacement ends once");
    pages.table.clear(this.buddy);
    pages.table = pages.target;
    pages.target = null;
    assert(quota <= pages.quota && quota >= pages.held, "a quota covers what is held and only shrinks");
    this.#promised -= pages.quota - quota;
    pages.quota = quota;
  }

  /** Gives back everything a sequence holds, in whatever state it is. The only way out. */
  release(pages: SequencePages): void {
    assert(this.#sequences.delete(pages), "pages are released once, by those who hold them");
    pages.target?.clear(this.buddy);
    pages.target = null;
    pages.table.clear(this.buddy);
    this.#promised -= pages.quota;
    pages.quota = 0;
  }

  #extend(pages: SequencePages, table: BlockTable, slots: ArrayLike<number>): void {
    const wanted = new Uint32Array(this.shape.layers);
    for (let layer = 0; layer < wanted.length; layer++) {
      wanted[layer] = pagesForSlots(slots[layer], this.shape.pageSlots);
    }
    assert(pages.held + table.missing(wanted) <= pages.quota, "a sequence stays inside its quota");
    table.extend(this.buddy, wanted);
  }
}
