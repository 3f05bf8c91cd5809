/** The rows of a fused projection, heads in the order q…, k…, v…. */
import { assert } from "../../lib/core/assert.ts";
import type { HeadShape } from "../../lib/ops/backend.ts";
import type { Tensor } from "../../lib/ops/tensor.ts";
import { floats } from "./tensor.ts";

export interface QkvHeads {
  /** Windows onto one row's numbers, [headDim]: writing them writes the tensor. */
  query(token: number, head: number): Float64Array;
  key(token: number, head: number): Float64Array;
  value(token: number, head: number): Float64Array;
}

export function qkvHeads(qkv: Tensor, shape: HeadShape): QkvHeads {
  const { heads, kvHeads, headDim } = shape;
  assert(heads % kvHeads === 0 && headDim % 4 === 0, "whole groups of query heads, dimensions in fours");
  assert(qkv.cols === (heads + 2 * kvHeads) * headDim, "a row of qkv holds all heads");
  const values = floats(qkv);
  const window = (token: number, head: number) => {
    const at = token * qkv.cols + head * headDim;
    return values.subarray(at, at + headDim);
  };
  return {
    query: window,
    key: (token, head) => window(token, heads + head),
    value: (token, head) => window(token, heads + kvHeads + head),
  };
}

/** The KV head that a query head reads. */
export function kvHeadOf(head: number, { heads, kvHeads }: HeadShape): number {
  return Math.floor(head * kvHeads / heads);
}
