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

/** Keys or values. */
export type KvPart = "key" | "value";

/** Words of one group of kv_read_rows and kv_write_rows: job, first source slot, target slot. */
export const KV_GROUP_WORDS = 3;

/** What kv_read_rows and kv_write_rows move, see there. */
export interface KvRows {
  readonly pages: KvPages;
  readonly jobs: KvJobs;
  readonly groups: Indices;
  readonly layer: number;
  readonly part: KvPart;
}

/**
 * Compression jobs of one batch: one job is one layer of one sequence. One u32 array:
 *
 *   [0, 4·J)   per job: slots stored now, slots kept, start of its source table, start of its target table
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
