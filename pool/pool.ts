/** What the scheduler asks of a KV pool, whatever its layout: who holds which pages of the device's cache memory. */
import type { Buddy } from "./buddy.ts";
import type { PoolGauges } from "./gauges.ts";
import type { PrefixChain } from "./prefix_chain.ts";
import type { SequencePages } from "./sequence_pages.ts";

/** A page is `pageSlots` slots of one layer. */
export interface PoolShape {
  readonly layers: number;
  readonly pageSlots: number;
  readonly pageBytes: number;
  readonly pageCount: number;
}

export interface Pool {
  readonly shape: PoolShape;
  readonly buddy: Buddy;
  readonly sequences: ReadonlySet<SequencePages>;
  /** Nobody names them. */
  readonly freePages: number;
  /** The prefix cache alone names them. */
  readonly evictablePages: number;
  /** What a sequence can get: free and evictable ones. */
  readonly availablePages: number;
  /** Pages that sequences name; a shared one counts once. */
  readonly usedPages: number;
  readonly largestFreeBlockPages: number;
  /** Changes whenever what {@link cached} would answer changes. */
  readonly cacheVersion: number;
  /** Pages that store slots[layer] slots in each layer. */
  pagesFor(slots: ArrayLike<number>): number;
  /** Leading tokens of a prompt that are stored already: whole pages. Leaves recency as it is. */
  cached(chain: PrefixChain): number;
  /**
   * A sequence begins. It shares the pages of its first `cachedTokens` tokens, whole pages and at most what
   * {@link cached} says; without a chain it never shares. A contiguous pool reserves `reserveSlots` slots of every
   * layer, and answers null when it has no such run; a paged one needs no number and never does.
   */
  open(chain: PrefixChain | null, cachedTokens: number, reserveSlots?: number): SequencePages | null;
  /** By how much fewer pages are available when a sequence has begun like that and stores slots[l] in layer l. */
  openingPages(chain: PrefixChain, cachedTokens: number, slots: ArrayLike<number>): number;
  /** Pages that are missing until layer l can store slots[l]. */
  missing(pages: SequencePages, slots: ArrayLike<number>): number;
  /** Takes what is missing and notes slots[l] as stored; false, and nothing is changed, when that is not to be had. */
  grow(pages: SequencePages, slots: ArrayLike<number>): boolean;
  /** The first `tokens` tokens of the prompt are stored raw: others may share the whole pages among them. */
  publish(pages: SequencePages, tokens: number): void;
  /** Takes pages for a compressed copy of kept[l] slots in layer l; false, and nothing is changed, without them. */
  beginReplacement(pages: SequencePages, kept: ArrayLike<number>): boolean;
  /** Nothing was written, or it does not count: the pages of the copy go back. */
  abandonReplacement(pages: SequencePages): void;
  /**
   * The copy becomes the cache and the raw pages are let go of. The device had written the copy at `writtenMs`; what
   * passed since is the time that the raw cache outlived its use.
   */
  finishReplacement(pages: SequencePages, writtenMs: number, nowMs: number): void;
  /** The first token is decoded. */
  beginDecoding(pages: SequencePages): void;
  /** Lets go of everything, in whatever state. The only way out. */
  release(pages: SequencePages): void;
  /** Evicts everything that no sequence names; returns the pages freed. */
  clearCache(): number;
  gauges(): PoolGauges;
}
