import type { Indices } from "./tensor.ts";

/** How keys and values are stored in a page. */
export type KvDtype = "f16" | "f32";

export const KV_ELEMENT_BYTES: Record<KvDtype, number> = { f16: 2, f32: 4 };

/**
 * The shape of the KV pool. A page is `pageBytes` of one layer's slots, K and V of all KV heads; the layout inside it
 * is the backend's own. pageBytes = pageSlots × 2 × kvHeads × headDim × bytes of the dtype.
 */
export interface KvShape {
  readonly dtype: KvDtype;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly pageBytes: number;
  readonly pageSlots: number;
  readonly pageCount: number;
}

/** The pool's device memory: an opaque handle made by the backend, `pageCount` pages, all zero at first. */
export interface KvPages {
  readonly shape: KvShape;
}

/**
 * Which tokens of a ragged batch belong to which sequence and where each layer's keys and values live.
 * One u32 array, uploaded once a step and shared by every layer:
 *
 *   [0, T)                    sequence of each token, 0 ≤ s < S; tokens of a sequence are adjacent, in order
 *   [T, T + S + 1)            first token of each sequence; the last entry is T
 *   then per layer l, 2·S     [slotBase of s] × S, then [tableStart of s] × S
 *   then the page tables      page numbers; tableStart is an index into this whole array
 *
 * Token t of sequence s is stored at slot slotBase(l, s) + (t − firstToken(s)) of layer l and attends to the slots
 * 0 … that one. Slots are not positions: RoPE positions travel apart, in the rotary tensor.
 */
export interface KvMap {
  readonly indices: Indices;
  readonly tokens: number;
  readonly sequences: number;
  readonly layers: number;
}

export function firstTokenOffset(map: KvMap): number {
  return map.tokens;
}

export function slotBaseOffset(map: KvMap, layer: number): number {
  return map.tokens + map.sequences + 1 + layer * 2 * map.sequences;
}

export function tableStartOffset(map: KvMap, layer: number): number {
  return slotBaseOffset(map, layer) + map.sequences;
}

/** Words of one group of kv_fold: job of layer 0, first source slot, target slot, which networks or KV_RAW. */
export const KV_GROUP_WORDS = 4;

/** Instead of networks: the one slot of the group is copied. */
export const KV_RAW = 0xffff_ffff;

/**
 * Compression jobs of one batch: one job is one layer of one sequence. One u32 array:
 *
 *   [0, JOB_WORDS·J)   one record a job, see {@link JobWord}
 *   then the tables, page numbers; starts are indices into this whole array
 *
 * Source and target pages are disjoint.
 */
export interface KvJobs {
  readonly indices: Indices;
  readonly jobs: number;
  /** The most stored slots and the most kept slots of any job. */
  readonly slotsMax: number;
  readonly keptMax: number;
}

export const JOB_WORDS = 6;
export const JobWord = {
  /** Slots stored now. */
  slots: 0,
  /** Slots that remain. */
  kept: 1,
  sourceTable: 2,
  targetTable: 3,
  /** Pages of what prefill kept for this sequence, and the word among them where this layer's part begins. */
  keepTable: 4,
  keepBase: 5,
} as const;

/**
 * Sequences of a forward step for which prefill keeps something, beside the step's {@link KvMap}. One u32 array:
 *
 *   [0, KEEP_WORDS·K)   one record a sequence, see {@link KeepWord}
 *   then the tables, page numbers; starts are indices into this whole array
 *
 * What is kept lies in pages of the pool, read as raw 32-bit words: word i of a sequence is word i mod (pageBytes / 4) of
 * page floor(i / (pageBytes / 4)) of its table. Layers follow each other; the words of one are given with each kind:
 *
 *   queries   [window][heads][headDim]          rotated queries of the last tokens of the prompt
 *   moments   [heads][headDim + headDim²]       mean of the queries before rotation, then the sum of (q − mean)(q − mean)ᵀ
 *   columns   [kvHeads][prompt tokens]          sums of attention weights over queries and the query heads of a group
 */
export interface KvKeeps {
  readonly indices: Indices;
  readonly count: number;
}

export const KEEP_WORDS = 4;
export const KeepWord = {
  /** Which sequence of the map. */
  sequence: 0,
  table: 1,
  /** Tokens of the whole prompt. */
  promptTokens: 2,
  /** queries: the window, at most promptTokens. moments: tokens at the prompt's start that are left out. */
  setting: 3,
} as const;

/** Bits of a stored code. */
export type KvBits = 4 | 8;

/** Slots that are packed together. */
export const PACK_SLOTS = 32;
/** Channels of a value that share a scale, at most. */
export const PACK_CHANNELS = 32;

/**
 * Slots packed as codes of few bits (KIVI, Liu et al. 2024), as raw words of pages: groups of PACK_SLOTS slots follow each other,
 * and in a group its KV heads, of each
 *
 *   keys      [headDim][32] codes, then [headDim] pairs: a channel's codes share a pair over the group's slots
 *   values    [32][headDim] codes, then [32][parts] pairs: a slot's codes share one over PACK_CHANNELS channels or what is left
 *
 * A code c of a pair (scale, least) stands for c · scale + least. Codes lie in words from the low bits up; a pair is two f32
 * words, or two halves of one word where pages are f16, scale first. headDim is a multiple of 8.
 */
export function packedGroupWords(
  { headDim, dtype }: Pick<KvShape, "headDim" | "dtype">,
  bits: KvBits,
): number {
  const codes = PACK_SLOTS * headDim * bits / 32, pairs = headDim + PACK_SLOTS * valueParts(headDim);
  return 2 * codes + pairs * PAIR_WORDS[dtype];
}

/** Words of a pair. */
export const PAIR_WORDS: Record<KvDtype, number> = { f16: 1, f32: 2 };

/** Pairs of one value. */
export function valueParts(headDim: number): number {
  return Math.ceil(headDim / PACK_CHANNELS);
}
