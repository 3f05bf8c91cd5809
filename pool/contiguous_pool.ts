/**
 * The KV pool as it is without paging, to compare with: a sequence reserves one run of adjacent pages for its prompt and
 * the longest completion it may have, and where it is compressed for the copy too. Nothing is shared, and a raw cache that
 * was compressed stays until the sequence ends. Runs are sought as blocks of a power of two, so external fragmentation is
 * that of a buddy allocator.
 */
import { assert } from "../lib/core/assert.ts";
import { Buddy, orderWithin } from "./buddy.ts";
import {
  externalFragmentation,
  internalFragmentation,
  largestFreeBlock,
  type PoolGauges,
  tokenBytes,
} from "./gauges.ts";
import { type Packing, roomOf } from "./packing.ts";
import { pagesForSlots, PageTable } from "./page_table.ts";
import type { Pool, Reservation } from "./pool.ts";
import type { PoolShape } from "./pool_shape.ts";
import type { PrefixChain } from "./prefix_chain.ts";
import { SequencePages } from "./sequence_pages.ts";

interface Run {
  readonly offset: number;
  readonly pages: number;
  readonly copy: PageTable | null;
  readonly keep: Uint32Array;
  readonly codes: Uint32Array;
  /** Pages of the raw cache and what was kept with it, and since when a written copy has stood in their place. */
  readonly rawPages: number;
  replacedMs: number;
}

export class ContiguousPool implements Pool {
  readonly shape: PoolShape;
  /** For checks. */
  readonly buddy: Buddy;
  readonly #runs = new Map<SequencePages, Run>();
  readonly #sequences = new Set<SequencePages>();
  #zombieByteSeconds = 0;
  #peakUsedPages = 0;

  constructor({ layers, pageSlots, pageBytes, pageCount }: PoolShape) {
    this.shape = { layers, pageSlots, pageBytes, pageCount, runPages: 2 ** orderWithin(pageCount) };
    this.buddy = new Buddy(pageCount);
  }

  get sequences(): ReadonlySet<SequencePages> {
    return this.#sequences;
  }

  get availablePages(): number {
    return this.buddy.freeUnits;
  }

  get usedPages(): number {
    return this.buddy.allocatedUnits;
  }

  get largestFreeBlockPages(): number {
    return largestFreeBlock(this.buddy);
  }

  /** Pages first to end of a sequence's run, for checks. */
  runOf(pages: SequencePages): { readonly first: number; readonly end: number } {
    const { offset, pages: count } = this.#held(pages);
    return { first: offset, end: offset + count };
  }

  pagesFor(slots: ArrayLike<number>): number {
    let pages = 0;
    for (let layer = 0; layer < this.shape.layers; layer++) {
      pages += pagesForSlots(slots[layer], this.shape.pageSlots);
    }
    return pages;
  }

  cached(_chain: PrefixChain): number {
    return 0;
  }

  runFor(all: () => Reservation): number {
    return this.#runFor(all());
  }

  #runFor({ rawSlots, copySlots, keepPages, codePages }: Reservation): number {
    const pages = this.pagesFor(this.#uniform(rawSlots)) + keepPages + codePages +
      (copySlots === null ? 0 : this.pagesFor(copySlots));
    return pages <= this.largestFreeBlockPages ? pages : Infinity;
  }

  open(_chain: PrefixChain | null, cachedTokens: number, all: Reservation): SequencePages | null {
    assert(cachedTokens === 0, "nothing is cached");
    const count = this.#runFor(all);
    if (count === Infinity) return null;
    const offset = this.buddy.allocateRun(count);
    assert(offset !== null, "a run lies in a free block");
    let next = offset;
    const take = (pages: number) => Uint32Array.from({ length: pages }, () => next++);
    const tableOf = (slots: ArrayLike<number>) => {
      const table = new PageTable(this.shape.layers, this.shape.pageSlots);
      table.extend(slots, take(table.missing(slots)));
      return table;
    };
    const pages = new SequencePages(tableOf(this.#uniform(all.rawSlots)), null);
    const keep = take(all.keepPages), rawPages = next - offset;
    const copy = all.copySlots === null ? null : tableOf(all.copySlots);
    const codes = take(all.codePages);
    assert(next === offset + count, "a run has a use for each of its pages");
    pages.reserved = count;
    this.#runs.set(pages, { offset, pages: count, copy, keep, codes, rawPages, replacedMs: NaN });
    this.#sequences.add(pages);
    this.#peakUsedPages = Math.max(this.#peakUsedPages, this.usedPages);
    return pages;
  }

  openingPages(_chain: PrefixChain, _cachedTokens: number, slots: ArrayLike<number>): number {
    return this.pagesFor(slots);
  }

  missing(pages: SequencePages, slots: ArrayLike<number>): number {
    return pages.table.missing(pages.tableSlots(slots));
  }

  /** Never fails inside what was reserved, and always beyond. */
  grow(pages: SequencePages, slots: ArrayLike<number>): boolean {
    this.#held(pages);
    if (this.missing(pages, slots) > 0) return false;
    pages.table.store(pages.tableSlots(slots));
    return true;
  }

  keep(pages: SequencePages, count: number): boolean {
    const { keep } = this.#held(pages);
    if (count > keep.length) return false;
    pages.keep = keep.slice(0, count);
    return true;
  }

  publish(pages: SequencePages, _tokens: number): void {
    this.#held(pages);
  }

  /** The copy's pages were reserved with the sequence; false when none were, or too few. */
  beginReplacement(pages: SequencePages, kept: ArrayLike<number>, packing: Packing | null = null): boolean {
    const { copy, codes } = this.#held(pages);
    assert(pages.target === null, "a sequence is compressed once at a time");
    if (copy === null || copy.missing(kept) > 0 || (packing?.codePages ?? 0) > codes.length) return false;
    copy.store(kept);
    pages.target = copy;
    if (packing !== null) {
      pages.targetPacked = { slots: packing.slots, codes, room: roomOf(packing, copy) };
    }
    pages.ownerBefore = pages.owner;
    pages.owner = "compressing";
    return true;
  }

  /** The raw cache stays where it is. */
  finishReplacement(pages: SequencePages, writtenMs: number, nowMs: number): void {
    const run = this.#held(pages);
    assert(pages.target !== null, "a replacement ends once");
    assert(nowMs >= writtenMs, "a copy is known to be written after it is");
    run.replacedMs = writtenMs;
    pages.table = pages.target;
    pages.packed = pages.targetPacked;
    pages.target = pages.targetPacked = null;
    if (pages.packed !== null) pages.table.cut(pages.packed.slots);
    pages.keep = new Uint32Array(0);
    pages.owner = "compact";
  }

  beginDecoding(pages: SequencePages): void {
    this.#held(pages);
    assert(pages.target === null, "a sequence is not decoded while it is compressed");
    pages.owner = "decoding";
  }

  /** And counts the time that a raw cache outlived its use. */
  release(pages: SequencePages, nowMs: number): void {
    const { offset, pages: count, rawPages, replacedMs } = this.#held(pages);
    if (!Number.isNaN(replacedMs)) {
      this.#zombieByteSeconds += rawPages * this.shape.pageBytes * (nowMs - replacedMs) / 1000;
    }
    this.buddy.freeRun(offset, count);
    this.#runs.delete(pages);
    this.#sequences.delete(pages);
    pages.packed = pages.target = pages.targetPacked = null;
    pages.reserved = 0;
    pages.table = new PageTable(this.shape.layers, this.shape.pageSlots);
  }

  /** Slots of raw caches that were compressed count as unused. */
  gauges(): PoolGauges {
    const { pageSlots, pageBytes } = this.shape;
    const pages = {
      ...{ raw: 0, compressing: 0, compact: 0, decoding: 0, cached: 0 },
      free: this.availablePages,
    };
    let storedSlots = 0;
    for (const { table, target, owner, reserved } of this.#sequences) {
      pages[owner] += reserved;
      for (const part of target === null ? [table] : [table, target]) {
        storedSlots += part.slots.reduce((sum, slots) => sum + slots, 0);
      }
    }
    const usedSlots = this.usedPages * pageSlots;
    return {
      pages,
      largestFreeBlockPages: this.largestFreeBlockPages,
      pageSlots,
      tokenBytes: tokenBytes(this.shape),
      internalFragmentation: internalFragmentation(usedSlots - storedSlots, usedSlots),
      externalFragmentation: externalFragmentation(this.buddy),
      zombieByteSeconds: this.#zombieByteSeconds,
      lookupTokens: 0,
      hitTokens: 0,
      evictions: 0,
      usedBytes: this.usedPages * pageBytes,
      peakUsedBytes: this.#peakUsedPages * pageBytes,
    };
  }

  #held(pages: SequencePages): Run {
    const run = this.#runs.get(pages);
    assert(run !== undefined, "only a sequence that is open has pages, and it is released once");
    return run;
  }

  #uniform(slots: number): Uint32Array {
    return new Uint32Array(this.shape.layers).fill(slots);
  }
}
