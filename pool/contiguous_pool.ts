/**
 * The KV pool as it is without paging, to compare with: a sequence reserves one run of adjacent pages for all that it
 * may ever store, nothing is shared, and a raw cache that was compressed stays until the sequence ends. The pages that
 * are sought for together are a power of two, so external fragmentation is that of a buddy allocator.
 */
import { assert } from "../lib/core/assert.ts";
import { Buddy } from "./buddy.ts";
import { externalFragmentation, internalFragmentation, largestFreeBlock, type PoolGauges } from "./gauges.ts";
import { pagesForSlots, PageTable } from "./page_table.ts";
import type { Pool, PoolShape } from "./pool.ts";
import type { PrefixChain } from "./prefix_chain.ts";
import { SequencePages } from "./sequence_pages.ts";

interface Run {
  readonly offset: number;
  readonly pages: number;
}

export class ContiguousPool implements Pool {
  readonly buddy: Buddy;
  readonly evictablePages = 0;
  readonly cacheVersion = 0;
  /** All runs of a sequence; the last one is that of its table, or of its target. */
  readonly #runs = new Map<SequencePages, Run[]>();
  readonly #sequences = new Set<SequencePages>();
  #zombieByteSeconds = 0;
  #peakUsedPages = 0;

  constructor(readonly shape: PoolShape) {
    this.buddy = new Buddy(shape.pageCount);
  }

  get sequences(): ReadonlySet<SequencePages> {
    return this.#sequences;
  }

  get freePages(): number {
    return this.buddy.freeUnits;
  }

  get availablePages(): number {
    return this.freePages;
  }

  get usedPages(): number {
    return this.buddy.allocatedUnits;
  }

  get largestFreeBlockPages(): number {
    return largestFreeBlock(this.buddy);
  }

  /** Runs that a sequence holds, for checks. */
  runs(pages: SequencePages): readonly Run[] {
    return this.#runs.get(pages)!;
  }

  pagesFor(slots: ArrayLike<number>): number {
    let longest = 0;
    for (let layer = 0; layer < this.shape.layers; layer++) longest = Math.max(longest, slots[layer]);
    return this.shape.layers * pagesForSlots(longest, this.shape.pageSlots);
  }

  cached(_chain: PrefixChain): number {
    return 0;
  }

  open(_chain: PrefixChain | null, cachedTokens: number, reserveSlots = 0): SequencePages | null {
    assert(cachedTokens === 0, "nothing is cached");
    assert(reserveSlots > 0, "a run is reserved for all that will be stored");
    const runs: Run[] = [];
    const table = this.#reserve(runs, reserveSlots);
    if (table === null) return null;
    const pages = new SequencePages(table, null);
    this.#runs.set(pages, runs);
    this.#sequences.add(pages);
    return pages;
  }

  openingPages(_chain: PrefixChain, _cachedTokens: number, slots: ArrayLike<number>): number {
    return this.pagesFor(slots);
  }

  missing(pages: SequencePages, slots: ArrayLike<number>): number {
    return pages.table.missing(slots);
  }

  /** Never fails inside what was reserved, and always beyond. */
  grow(pages: SequencePages, slots: ArrayLike<number>): boolean {
    this.#runsOf(pages);
    if (pages.table.missing(slots) > 0) return false;
    pages.table.store(slots);
    return true;
  }

  publish(pages: SequencePages, _tokens: number): void {
    this.#runsOf(pages);
  }

  /** Reserves another run: the copy, and as many slots behind it as were left behind the raw cache. */
  beginReplacement(pages: SequencePages, kept: ArrayLike<number>): boolean {
    const runs = this.#runsOf(pages);
    assert(pages.target === null, "a sequence is compressed once at a time");
    const { slots, tables } = pages.table;
    let longest = 0;
    for (let layer = 0; layer < slots.length; layer++) {
      longest = Math.max(longest, kept[layer] + tables[layer].length * this.shape.pageSlots - slots[layer]);
    }
    const target = this.#reserve(runs, longest);
    if (target === null) return false;
    target.store(kept);
    pages.target = target;
    pages.ownerBefore = pages.owner;
    pages.owner = "compressing";
    return true;
  }

  abandonReplacement(pages: SequencePages): void {
    const runs = this.#runsOf(pages);
    assert(pages.target !== null, "a replacement ends once");
    const { offset, pages: count } = runs.pop()!;
    this.buddy.freeRun(offset, count);
    pages.target = null;
    pages.owner = pages.ownerBefore;
  }

  /** The raw cache stays where it is; the time after `nowMs` that it does is not counted. */
  finishReplacement(pages: SequencePages, writtenMs: number, nowMs: number): void {
    this.#runsOf(pages);
    assert(pages.target !== null, "a replacement ends once");
    assert(nowMs >= writtenMs, "a copy is known to be written after it is");
    this.#zombieByteSeconds += pages.table.pages * this.shape.pageBytes * (nowMs - writtenMs) / 1000;
    pages.table = pages.target;
    pages.target = null;
    pages.owner = "compact";
  }

  beginDecoding(pages: SequencePages): void {
    this.#runsOf(pages);
    assert(pages.target === null, "a sequence is not decoded while it is compressed");
    pages.owner = "decoding";
  }

  release(pages: SequencePages): void {
    for (const { offset, pages: count } of this.#runsOf(pages)) this.buddy.freeRun(offset, count);
    this.#runs.delete(pages);
    this.#sequences.delete(pages);
    pages.target = null;
    pages.table = new PageTable(this.shape.layers, this.shape.pageSlots);
  }

  clearCache(): number {
    return 0;
  }

  /** Slots of raw caches that were compressed count as unused. */
  gauges(): PoolGauges {
    const { pageSlots, pageBytes } = this.shape;
    const pages = { raw: 0, compressing: 0, compact: 0, decoding: 0, cached: 0, free: this.freePages };
    let unusedSlots = 0;
    for (const sequence of this.#sequences) {
      const reserved = this.runs(sequence).reduce((sum, run) => sum + run.pages, 0);
      pages[sequence.owner] += reserved;
      unusedSlots += sequence.unusedSlots + (reserved - sequence.held) * pageSlots;
    }
    return {
      pages,
      largestFreeBlockPages: this.largestFreeBlockPages,
      internalFragmentation: internalFragmentation(unusedSlots, this.usedPages * pageSlots),
      externalFragmentation: externalFragmentation(this.buddy),
      zombieByteSeconds: this.#zombieByteSeconds,
      lookupTokens: 0,
      hitTokens: 0,
      evictions: 0,
      usedBytes: this.usedPages * pageBytes,
      peakUsedBytes: this.#peakUsedPages * pageBytes,
    };
  }

  #runsOf(pages: SequencePages): Run[] {
    const runs = this.#runs.get(pages);
    assert(runs !== undefined, "only a sequence that is open has pages, and it is released once");
    return runs;
  }

  /** A table of `slots` slots a layer in one run, which is noted in `runs`; null without such a run. */
  #reserve(runs: Run[], slots: number): PageTable | null {
    const table = new PageTable(this.shape.layers, this.shape.pageSlots);
    const all = new Uint32Array(this.shape.layers).fill(slots);
    const pages = table.missing(all);
    const offset = this.buddy.allocateRun(pages);
    if (offset === null) return null;
    runs.push({ offset, pages });
    table.extend(all, Uint32Array.from({ length: pages }, (_, page) => offset + page));
    this.#peakUsedPages = Math.max(this.#peakUsedPages, this.usedPages);
    return table;
  }
}
