/**
 * The paged KV pool. Integers only; the engine is passed page numbers and never asks here.
 *
 * A sequence takes pages as it grows; nothing is promised. Growing fails when no page is free or evictable, and then
 * the scheduler compresses or preempts. A page is named by one sequence, or by the prefix cache and any number of
 * sequences; compressed pages are never shared.
 */
import { assert } from "../lib/core/assert.ts";
import type { Buddy } from "./buddy.ts";
import { CountedPages } from "./counted_pages.ts";
import {
  externalFragmentation,
  internalFragmentation,
  largestFreeBlock,
  type PoolGauges,
  tokenBytes,
} from "./gauges.ts";
import { pagesForSlots, PageTable } from "./page_table.ts";
import { type Packing, roomOf } from "./packing.ts";
import type { Pool } from "./pool.ts";
import type { PoolShape } from "./pool_shape.ts";
import { NO_ENTRY, PrefixCache } from "./prefix_cache.ts";
import type { PrefixChain } from "./prefix_chain.ts";
import { NO_PAGES, type PageOwner, SequencePages } from "./sequence_pages.ts";

export class KvPool implements Pool {
  /** For checks. */
  readonly counted: CountedPages;
  /** For checks; empty when nothing is to be shared. */
  readonly cache: PrefixCache;
  readonly #shares: boolean;
  readonly #sequences = new Set<SequencePages>();
  /** Page numbers on their way from one table to another. */
  readonly #scratch: Uint32Array;
  #zombieByteSeconds = 0;
  #lookupTokens = 0;
  #hitTokens = 0;
  #peakUsedPages = 0;

  constructor(readonly shape: PoolShape, options: { readonly prefixCache?: boolean } = {}) {
    assert(shape.layers > 0 && shape.pageSlots > 0, "a page holds slots of a layer");
    this.#shares = options.prefixCache ?? true;
    this.counted = new CountedPages(shape.pageCount);
    this.cache = new PrefixCache(this.counted, this.#shares ? shape.pageCount : 0, shape.layers);
    this.#scratch = new Uint32Array(shape.pageCount);
  }

  get buddy(): Buddy {
    return this.counted.buddy;
  }

  get sequences(): ReadonlySet<SequencePages> {
    return this.#sequences;
  }

  /** Nobody names them. */
  get freePages(): number {
    return this.counted.freePages;
  }

  /** The prefix cache alone names them. */
  get evictablePages(): number {
    return this.cache.evictable * this.shape.layers;
  }

  /** What a sequence can get: free and evictable ones. */
  get availablePages(): number {
    return this.freePages + this.evictablePages;
  }

  /** Pages that sequences name; a shared one counts once. */
  get usedPages(): number {
    return this.shape.pageCount - this.availablePages;
  }

  get largestFreeBlockPages(): number {
    return largestFreeBlock(this.buddy);
  }

  /** Changes whenever what {@link cached} would answer changes. */
  get cacheVersion(): number {
    return this.cache.version;
  }

  /** Pages that store slots[layer] slots in each layer. */
  pagesFor(slots: ArrayLike<number>): number {
    let pages = 0;
    for (let layer = 0; layer < this.shape.layers; layer++) {
      pages += pagesForSlots(slots[layer], this.shape.pageSlots);
    }
    return pages;
  }

  /** Leading tokens of a prompt that are stored already: whole pages. Leaves recency as it is. */
  cached(chain: PrefixChain): number {
    assert(chain.pageSlots === this.shape.pageSlots, "a chain is made for the pages of this pool");
    let pages = 0;
    while (pages < chain.pages && this.cache.find(chain, pages) !== NO_ENTRY) pages++;
    return pages * this.shape.pageSlots;
  }

  /** Nothing is reserved. */
  runFor(): null {
    return null;
  }

  /**
   * A sequence begins. It shares the pages of its first `cachedTokens` tokens, whole pages and at most what
   * {@link cached} says; without a chain it never shares.
   */
  open(chain: PrefixChain | null, cachedTokens: number): SequencePages {
    const { layers, pageSlots } = this.shape;
    const table = new PageTable(layers, pageSlots);
    const pages = new SequencePages(table, this.#shares ? chain : null);
    const count = cachedTokens / pageSlots;
    assert(Number.isInteger(count) && (count === 0 || chain !== null), "whole pages of a prompt are cached");
    for (let n = 0; n < count; n++) {
      const entry = this.cache.find(chain!, n);
      assert(entry !== NO_ENTRY, "a sequence begins with pages that are cached");
      this.cache.name(entry);
      this.#scratch.set(this.cache.pages(entry), n * layers);
      pages.leaf = entry;
    }
    pages.sharedPages = count;
    const slots = new Uint32Array(layers).fill(cachedTokens);
    table.extend(slots, this.#scratch.subarray(0, count * layers));
    table.store(slots);
    this.#sequences.add(pages);
    this.#lookupTokens += pages.chain?.tokens ?? 0;
    this.#hitTokens += cachedTokens;
    this.#notePeak();
    return pages;
  }

  /** By how much fewer pages are available when a sequence has begun like that and stores slots[l] in layer l. */
  openingPages(chain: PrefixChain, cachedTokens: number, slots: ArrayLike<number>): number {
    const { layers, pageSlots } = this.shape;
    const shared = cachedTokens / pageSlots;
    // Entries that no sequence names yet are evictable no longer.
    let pages = this.pagesFor(slots) - shared * layers;
    for (let n = shared - 1; n >= 0; n--) {
      const entry = this.cache.find(chain, n);
      assert(entry !== NO_ENTRY, "a sequence begins with pages that are cached");
      if (this.cache.namers(entry) > 0) break;
      pages += layers;
    }
    return pages;
  }

  /** Pages that are missing until layer l can store slots[l]. */
  missing(pages: SequencePages, slots: ArrayLike<number>): number {
    return pages.table.missing(pages.tableSlots(slots));
  }

  /** Takes what is missing and notes slots[l] as stored; false, and nothing is changed, when that is not to be had. */
  grow(pages: SequencePages, slots: ArrayLike<number>): boolean {
    this.#assertHeld(pages);
    return this.#extend(pages.table, pages.tableSlots(slots));
  }

  /** Takes `count` pages for what prefill keeps of the prompt; they go back with the raw cache. False without them. */
  keep(pages: SequencePages, count: number): boolean {
    this.#assertHeld(pages);
    assert(pages.keep.length === 0, "what is kept has its pages at once");
    if (count > this.availablePages) return false;
    this.#makeRoom(count);
    pages.keep = this.counted.take(count).slice();
    this.#notePeak();
    return true;
  }

  /**
   * Where another sequence has published the same page first, its page stays the shared one and this sequence's stays
   * private. Publishing ends there: the pages behind would have a parent that this sequence does not name.
   */
  publish(pages: SequencePages, tokens: number): void {
    this.#assertHeld(pages);
    const { chain, table } = pages;
    if (chain === null) return;
    const count = Math.min(chain.pages, Math.floor(tokens / this.shape.pageSlots));
    const shared = this.#scratch.subarray(0, this.shape.layers);
    for (let n = pages.sharedPages; n < count; n++) {
      if (this.cache.find(chain, n) !== NO_ENTRY) return;
      for (let layer = 0; layer < shared.length; layer++) {
        assert(table.slots[layer] >= (n + 1) * this.shape.pageSlots, "what is published is stored");
        shared[layer] = table.tables[layer][n];
      }
      pages.leaf = this.cache.insert(chain, n, pages.leaf, shared);
      pages.sharedPages++;
    }
  }

  /**
   * Takes pages for a compressed copy of kept[l] slots in layer l, and for the codes of those that will be packed; false,
   * and nothing is changed, without them.
   */
  beginReplacement(pages: SequencePages, kept: ArrayLike<number>, packing: Packing | null = null): boolean {
    this.#assertHeld(pages);
    assert(pages.target === null, "a sequence is compressed once at a time");
    const target = new PageTable(this.shape.layers, this.shape.pageSlots);
    const codePages = packing?.codePages ?? 0;
    if (target.missing(kept) + codePages > this.availablePages) return false;
    this.#extend(target, kept);
    pages.target = target;
    if (packing !== null) {
      this.#makeRoom(codePages);
      const codes = this.counted.take(codePages).slice();
      pages.targetPacked = { slots: packing.slots, codes, room: roomOf(packing, target) };
      this.#notePeak();
    }
    pages.ownerBefore = pages.owner;
    pages.owner = "compressing";
    return true;
  }

  /** Nothing was written, or it does not count: the pages of the copy go back. */
  abandonReplacement(pages: SequencePages): void {
    this.#assertHeld(pages);
    assert(pages.target !== null, "a replacement ends once");
    this.#freeTarget(pages);
    pages.owner = pages.ownerBefore;
  }

  /**
   * The copy becomes the cache and the raw pages are let go of, and of what is packed those that were not made the
   * room. The device had written the copy at `writtenMs`; what passed since is the time that the raw cache outlived its use.
   */
  finishReplacement(pages: SequencePages, writtenMs: number, nowMs: number): void {
    this.#assertHeld(pages);
    assert(pages.target !== null, "a replacement ends once");
    assert(nowMs >= writtenMs, "a copy is known to be written after it is");
    const rawPages = this.#letGo(pages);
    this.#zombieByteSeconds += rawPages * this.shape.pageBytes * (nowMs - writtenMs) / 1000;
    pages.table = pages.target;
    pages.packed = pages.targetPacked;
    pages.target = pages.targetPacked = null;
    if (pages.packed !== null) {
      const room = new Set(pages.packed.room);
      this.counted.letGo(pages.table.cut(pages.packed.slots).filter((page) => !room.has(page)));
    }
    pages.owner = "compact";
    // Compressed pages under the key of a prompt would be served as raw ones.
    pages.chain = null;
  }

  /** The first token is decoded. */
  beginDecoding(pages: SequencePages): void {
    this.#assertHeld(pages);
    assert(pages.target === null, "a sequence is not decoded while it is compressed");
    pages.owner = "decoding";
  }

  /** Lets go of everything, in whatever state. The only way out. */
  release(pages: SequencePages): void {
    assert(this.#sequences.delete(pages), "pages are released once, by those who hold them");
    this.#freeTarget(pages);
    this.#letGo(pages);
    pages.table = new PageTable(this.shape.layers, this.shape.pageSlots);
  }

  /** Evicts everything that no sequence names; returns the pages freed. */
  clearCache(): number {
    const pages = this.evictablePages;
    while (this.cache.evictable > 0) this.cache.evictOldest();
    return pages;
  }

  /** Walks the sequences and what they share: for a scrape, not for a decision. */
  gauges(): PoolGauges {
    let unusedSlots = 0;
    // Shared pages are full, so what is unused is unused in private ones.
    for (const pages of this.#sequences) unusedSlots += pages.unusedSlots;
    const { pageSlots, pageBytes } = this.shape;
    return {
      pages: { ...this.#pagesByOwner(), cached: this.evictablePages, free: this.freePages },
      largestFreeBlockPages: this.largestFreeBlockPages,
      pageSlots,
      tokenBytes: tokenBytes(this.shape),
      internalFragmentation: internalFragmentation(unusedSlots, this.usedPages * pageSlots),
      externalFragmentation: externalFragmentation(this.buddy),
      zombieByteSeconds: this.#zombieByteSeconds,
      lookupTokens: this.#lookupTokens,
      hitTokens: this.#hitTokens,
      evictions: this.cache.evicted,
      usedBytes: this.usedPages * pageBytes,
      peakUsedBytes: this.#peakUsedPages * pageBytes,
    };
  }

  /** A page that several name counts for the one that is furthest on its way. */
  #pagesByOwner(): Record<PageOwner, number> {
    const counts = { decoding: 0, compact: 0, compressing: 0, raw: 0 };
    const counted = new Set<number>();
    for (const owner of ["decoding", "compact", "compressing", "raw"] as const) {
      for (const pages of this.#sequences) {
        if (pages.owner !== owner) continue;
        counts[owner] += pages.privatePages;
        for (let entry = pages.leaf; entry !== NO_ENTRY && !counted.has(entry);) {
          counted.add(entry);
          counts[owner] += this.shape.layers;
          entry = this.cache.parent(entry);
        }
      }
    }
    return counts;
  }

  #assertHeld(pages: SequencePages): void {
    assert(this.#sequences.has(pages), "only a sequence that is open has pages");
  }

  #extend(table: PageTable, slots: ArrayLike<number>): boolean {
    const count = table.missing(slots);
    if (count > this.availablePages) return false;
    if (count > 0) {
      this.#makeRoom(count);
      table.extend(slots, this.counted.take(count));
      this.#notePeak();
    }
    table.store(slots);
    return true;
  }

  /** Evicts until `count` pages are free. */
  #makeRoom(count: number): void {
    while (this.freePages < count) this.cache.evictOldest();
  }

  #freeTarget(pages: SequencePages): void {
    if (pages.target !== null) this.#free(pages.target, 0);
    if (pages.targetPacked !== null) this.counted.letGo(pages.targetPacked.codes);
    pages.target = pages.targetPacked = null;
  }

  /** Lets go of the cache of a sequence; returns the pages that no sequence names afterwards. */
  #letGo(pages: SequencePages): number {
    this.counted.letGo(pages.keep);
    // A cache is compressed once, so a packed one goes for good.
    for (const part of [pages.packed?.codes, pages.packed?.room]) {
      if (part !== undefined) this.counted.letGo(part);
    }
    pages.packed = null;
    let count = this.#free(pages.table, pages.sharedPages) + pages.keep.length;
    pages.keep = NO_PAGES;
    // Deepest first: the order in which they may be evicted.
    for (let entry = pages.leaf; entry !== NO_ENTRY; entry = this.cache.parent(entry)) {
      if (this.cache.letGo(entry)) count += this.shape.layers;
    }
    pages.leaf = NO_ENTRY;
    pages.sharedPages = 0;
    return count;
  }

  /** Frees the private pages of a table: those behind the first `shared` of each layer. Returns how many. */
  #free(table: PageTable, shared: number): number {
    const count = table.copyTo(this.#scratch, shared);
    this.counted.letGo(this.#scratch.subarray(0, count));
    return count;
  }

  #notePeak(): void {
    this.#peakUsedPages = Math.max(this.#peakUsedPages, this.usedPages);
  }
}
