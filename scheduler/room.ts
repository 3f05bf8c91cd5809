/**
 * What a request comes to hold. A sequence that is compressed holds its raw cache and the kept slots at one moment; the
 * raw pages come back then and the completion grows into them, so the larger of the two moments counts. In a contiguous
 * pool everything is one run from the beginning and nothing comes back before the end.
 */
import { type Packing, type PoolShape, type Reservation, roomPages } from "../pool/mod.ts";
import { pagesForSlots } from "../pool/page_table.ts";

/** Pages of `slots` slots in every layer. */
export function uniformPages(shape: PoolShape, slots: number): number {
  return shape.layers * pagesForSlots(slots, shape.pageSlots);
}

/** Pages of slots[l] + `more` slots in layer l, the first of them packed as `packing` says. */
export function pagesAfter(
  shape: PoolShape,
  slots: ArrayLike<number>,
  more: number,
  packing: Packing | null = null,
): number {
  let pages = packing === null ? 0 : packing.codePages + roomPages(packing, shape.pageSlots);
  for (let layer = 0; layer < shape.layers; layer++) {
    pages += pagesForSlots(slots[layer] + more - (packing?.slots[layer] ?? 0), shape.pageSlots);
  }
  return pages;
}

/** Pages of a copy of `kept` slots while it is written: what is packed stands in it raw beside its codes. */
export function copyPages(shape: PoolShape, kept: ArrayLike<number>, packing: Packing | null): number {
  return pagesAfter(shape, kept, 0) + (packing?.codePages ?? 0);
}

/**
 * Pages at the fullest moment. `kept`: slots that remain of the prompt in each layer, null without compression.
 * `packing`: what of them is packed. `keep`: pages in which prefill keeps what compression needs, until then. The token generated last is never stored.
 */
export function peakPages(
  shape: PoolShape,
  promptTokens: number,
  kept: ArrayLike<number> | null,
  keep: number,
  maxTokens: number,
  packing: Packing | null = null,
): number {
  const more = Math.max(0, maxTokens - 1);
  if (kept === null) return uniformPages(shape, promptTokens + more);
  if (shape.runPages !== undefined) {
    return uniformPages(shape, promptTokens) + keep + pagesAfter(shape, kept, more) +
      (packing?.codePages ?? 0);
  }
  const both = uniformPages(shape, promptTokens) + keep + copyPages(shape, kept, packing);
  return Math.max(both, pagesAfter(shape, kept, more, packing));
}

/** All that a sequence may come to hold, as {@link peakPages} counts it where it is one run. */
export function reservation(
  promptTokens: number,
  kept: ArrayLike<number> | null,
  keep: number,
  maxTokens: number,
  packing: Packing | null,
): Reservation {
  const more = Math.max(0, maxTokens - 1);
  if (kept === null) return { rawSlots: promptTokens + more, copySlots: null, keepPages: 0, codePages: 0 };
  const copySlots = Array.from(kept, (slots) => slots + more);
  return { rawSlots: promptTokens, copySlots, keepPages: keep, codePages: packing?.codePages ?? 0 };
}

/** Pages that a copy takes of what is free: none of a run in which it has its place. */
export function freshCopyPages(
  shape: PoolShape,
  kept: ArrayLike<number>,
  packing: Packing | null,
): number {
  return shape.runPages === undefined ? copyPages(shape, kept, packing) : 0;
}

/** Tokens that a completion may have in a pool that is otherwise empty; below 1 when the prompt itself does not fit. */
export function completionTokensMax(
  shape: PoolShape,
  promptTokens: number,
  kept: ArrayLike<number> | null,
  keep: number,
  packing: Packing | null = null,
): number {
  const pagesMax = shape.runPages ?? shape.pageCount;
  if (peakPages(shape, promptTokens, kept, keep, 1, packing) > pagesMax) return 0;
  // The layers fill their last pages at different tokens: search the largest completion that fits.
  let least = 1, most = Math.floor(shape.pageCount / shape.layers) * shape.pageSlots * shape.layers;
  while (least < most) {
    const middle = Math.ceil((least + most) / 2);
    if (peakPages(shape, promptTokens, kept, keep, middle, packing) <= pagesMax) least = middle;
    else most = middle - 1;
  }
  return least;
}
