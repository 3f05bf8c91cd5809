/**
 * How many pages a sequence reserves before its first slot is stored: everything it can come to hold, so that whoever
 * has begun can finish whatever the others do. Sequences wait for their quota in the order in which they came; the head
 * of the queue is never overtaken, so it gets its pages when those before it end. Nobody waits for pages while holding
 * some, so nothing can deadlock, and nothing starves.
 *
 * A sequence that will be compressed holds its raw prompt and the kept slots at one moment; the raw pages come back
 * then and the completion grows into them, so the larger of the two moments counts.
 */
import type { PoolShape } from "../pool/mod.ts";
import { pagesForSlots } from "../pool/page_table.ts";

export interface Quota {
  /** Pages reserved at the start. */
  readonly pages: number;
  /** Pages that remain reserved once the prompt is compressed; equal to `pages` without compression. */
  readonly pagesCompressed: number;
}

function pagesOf(shape: PoolShape, slots: number): number {
  return shape.layers * pagesForSlots(slots, shape.pageSlots);
}

/** `kept`: slots that remain of the prompt after compression, null without. The last token is never stored. */
export function quotaOf(
  shape: PoolShape,
  promptTokens: number,
  kept: number | null,
  maxTokens: number,
): Quota {
  const pagesCompressed = pagesOf(shape, (kept ?? promptTokens) + maxTokens - 1);
  if (kept === null) return { pages: pagesCompressed, pagesCompressed };
  const both = pagesOf(shape, promptTokens) + pagesOf(shape, kept);
  return { pages: Math.max(both, pagesCompressed), pagesCompressed };
}

/** Tokens that a completion may have in a pool that is otherwise empty; below 1 when the prompt itself does not fit. */
export function completionTokensMax(shape: PoolShape, promptTokens: number, kept: number | null): number {
  const slotsMax = Math.floor(shape.pageCount / shape.layers) * shape.pageSlots;
  if (quotaOf(shape, promptTokens, kept, 1).pages > shape.pageCount) return 0;
  return slotsMax - (kept ?? promptTokens) + 1;
}
