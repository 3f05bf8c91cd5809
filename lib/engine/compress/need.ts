/** What prefill keeps of a prompt for the method that will compress it, in pages of the pool. */
import type { HeadShape } from "../../ops/backend.ts";

export type Need =
  /** Rotated queries of the last `window` tokens. */
  | { readonly kind: "queries"; readonly window: number }
  /** Mean and covariance of the queries before rotation, of all tokens but the first `sinks`. */
  | { readonly kind: "moments"; readonly sinks: number }
  /** Sums of the attention matrix over its rows. */
  | { readonly kind: "columns" };

/** 32-bit words of one layer. Layouts: see KvKeeps. */
export function needLayerWords(need: Need, shape: HeadShape, promptTokens: number): number {
  const { heads, kvHeads, headDim } = shape;
  switch (need.kind) {
    case "queries":
      return Math.min(need.window, promptTokens) * heads * headDim;
    case "moments":
      return heads * (headDim + headDim ** 2);
    case "columns":
      return kvHeads * promptTokens;
  }
}

/** Bytes of all layers of one prompt. */
export function needBytes(need: Need, shape: HeadShape, layers: number, promptTokens: number): number {
  return 4 * layers * needLayerWords(need, shape, promptTokens);
}

/**
 * The first prompt token that prefill itself must compute: tokens before it may come from a prefix cache. The last token
 * is always computed, for its logits.
 */
export function computedFrom(need: Need | null, promptTokens: number): number {
  if (need === null) return promptTokens - 1;
  return need.kind === "queries" ? Math.max(0, promptTokens - need.window) : 0;
}
