/**
 * The inside of a KV page: per KV head K [headDim][slots], then V [slots][headDim]. Keys are transposed, so that the
 * lanes of a vector are slots and a dot product needs no sum across lanes.
 */
import { KV_ELEMENT_BYTES, type KvDtype, type KvShape } from "../ops/kv.ts";

export interface PageShape {
  readonly headDim: number;
  readonly slots: number;
  readonly dtype: KvDtype;
}

/** Bytes of one head's K, and of its V. */
export function halfBytes(page: PageShape): number {
  return page.headDim * page.slots * KV_ELEMENT_BYTES[page.dtype];
}

export function headBytes(page: PageShape): number {
  return 2 * halfBytes(page);
}

export function pageKey(page: PageShape): string {
  return `${page.dtype} ${page.headDim} ${page.slots}`;
}

/** The pool as recorded in an operation and read by every thread. */
export interface PagesView {
  readonly address: number;
  readonly pageBytes: number;
  readonly kvHeads: number;
  readonly page: PageShape;
}

export const PAGES_WORDS = 6;

export function pagesWords(address: number, shape: KvShape): number[] {
  return [
    address,
    shape.pageBytes,
    shape.kvHeads,
    shape.headDim,
    shape.pageSlots,
    shape.dtype === "f16" ? 1 : 0,
  ];
}

export function readPages(words: Uint32Array, offset: number): PagesView {
  const [address, pageBytes, kvHeads, headDim, slots, half] = words.subarray(offset, offset + PAGES_WORDS);
  return { address, pageBytes, kvHeads, page: { headDim, slots, dtype: half === 1 ? "f16" : "f32" } };
}
