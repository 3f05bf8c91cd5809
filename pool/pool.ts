/** What the scheduler asks of a KV pool, whatever its layout: who holds which pages of the device's cache memory. */
import type { PoolGauges } from "./gauges.ts";
import type { Packing } from "./packing.ts";
import type { PoolShape } from "./pool_shape.ts";
import type { PrefixChain } from "./prefix_chain.ts";
import type { SequencePages } from "./sequence_pages.ts";

/** All that a sequence may ever hold. */
export interface Reservation {
  /** Slots of each layer as they are computed. */
  readonly rawSlots: number;
  /** Slots of each layer's compressed copy and what follows it; null when it is not compressed. */
  readonly copySlots: ArrayLike<number> | null;
  /** Pages in which prefill keeps what compression needs. */
  readonly keepPages: number;
  /** Pages of the codes of what is packed. */
  readonly codePages: number;
}

export interface Pool {
  readonly shape: PoolShape;
  /** Those that have begun. */
  readonly sequences: ReadonlySet<SequencePages>;
  /** What a sequence can get. */
  readonly availablePages: number;
  /** Pages that sequences name; a shared one counts once. */
  readonly usedPages: number;
  readonly largestFreeBlockPages: number;
  /** Pages that store slots[layer] slots in each layer. */
  pagesFor(slots: ArrayLike<number>): number;
  /** Leading tokens of a prompt that are stored already: whole pages. */
  cached(chain: PrefixChain): number;
  /** Pages that it takes at once for all its life, Infinity without such a run; null where pages come as it grows. */
  runFor(all: () => Reservation): number | null;
  /**
   * A sequence begins. It shares the pages of its first `cachedTokens` tokens, at most what {@link cached} says. Null when
   * there is no run for it.
   */
  open(chain: PrefixChain | null, cachedTokens: number, all: Reservation): SequencePages | null;
  /** By how much fewer pages are available when a sequence has begun like that and stores slots[l] in layer l. */
  openingPages(chain: PrefixChain, cachedTokens: number, slots: ArrayLike<number>): number;
  /** Pages that are missing until layer l can store slots[l]. */
  missing(pages: SequencePages, slots: ArrayLike<number>): number;
  /** Takes what is missing and notes slots[l] as stored; false, and nothing is changed, when that is not to be had. */
  grow(pages: SequencePages, slots: ArrayLike<number>): boolean;
  /** Takes `count` pages for what prefill keeps of the prompt. False without them. */
  keep(pages: SequencePages, count: number): boolean;
  /** The first `tokens` tokens of the prompt are stored raw: others may share the whole pages among them. */
  publish(pages: SequencePages, tokens: number): void;
  /**
   * Takes pages for a compressed copy of kept[l] slots in layer l, and for the codes of those that will be packed; false,
   * and nothing is changed, without them.
   */
  beginReplacement(pages: SequencePages, kept: ArrayLike<number>, packing?: Packing | null): boolean;
  /** The copy, which the device had written at `writtenMs`, becomes the cache. */
  finishReplacement(pages: SequencePages, writtenMs: number, nowMs: number): void;
  /** The first token is decoded. */
  beginDecoding(pages: SequencePages): void;
  /** Lets go of everything, in whatever state. The only way out. */
  release(pages: SequencePages, nowMs: number): void;
  gauges(): PoolGauges;
}
