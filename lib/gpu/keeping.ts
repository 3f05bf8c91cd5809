/** Records the operations that keep, while a prompt is prefilled, what its compression will need. */
import { keepColumnsKernel, rowWeightsKernel } from "../../shaders/keep_columns.wgsl.ts";
import { keepMomentsKernel } from "../../shaders/keep_moments.wgsl.ts";
import { keepQueriesKernel } from "../../shaders/keep_queries.wgsl.ts";
import { kvLayout } from "../../shaders/kv_address.wgsl.ts";
import { assert } from "../core/assert.ts";
import type { HeadShape } from "../ops/backend.ts";
import {
  firstTokenOffset,
  KEEP_WORDS,
  KeepWord,
  type KvKeeps,
  slotBaseOffset,
  tableStartOffset,
} from "../ops/kv.ts";
import type { GpuKvMap } from "./attention.ts";
import { GRID_MAX } from "./grid.ts";
import { floatBits, type GpuIndices, type GpuKvPages, type GpuTensor, type Recorder } from "./recorder.ts";

export interface GpuKeepOperands {
  readonly qkv: GpuTensor;
  readonly shape: HeadShape;
  readonly pages: GpuKvPages;
  readonly map: GpuKvMap;
  readonly keeps: KvKeeps & { readonly indices: GpuIndices };
  readonly layer: number;
}

/** Slots of one workgroup of keep_columns. */
const COLUMN_SLOTS = 64;

export function recordKeepQueries(recorder: Recorder, o: GpuKeepOperands): void {
  const kernel = keepQueriesKernel(o.shape, kvLayout(o.pages.shape, o.pages.shards.length));
  recorder.dispatch(kernel, buffers(o), params(o, 0), [extents(o).tokens, o.keeps.count, 1]);
}

export function recordKeepMoments(recorder: Recorder, o: GpuKeepOperands): void {
  const kernel = keepMomentsKernel(o.shape, kvLayout(o.pages.shape, o.pages.shards.length));
  recorder.dispatch(kernel, buffers(o), params(o, 0), [o.shape.heads, o.keeps.count, 1]);
}

export function recordKeepColumns(recorder: Recorder, o: GpuKeepOperands & { scale: number }): void {
  const { heads, kvHeads } = o.shape, layout = kvLayout(o.pages.shape, o.pages.shards.length);
  const { tokens, slots } = extents(o), rows = recorder.scratch(o.map.tokens * heads, 2, "f32");
  const bound = [...buffers(o), rows.buffer], words = params(o, o.scale);
  recorder.dispatch(rowWeightsKernel(o.shape, layout), bound, words, [tokens, heads, o.keeps.count]);
  const grid = [Math.ceil(slots / COLUMN_SLOTS), kvHeads, o.keeps.count] as const;
  recorder.dispatch(keepColumnsKernel(o.shape, layout), bound, words, grid);
  recorder.release(rows);
}

function buffers(o: GpuKeepOperands): GPUBuffer[] {
  return [o.qkv.buffer, o.map.indices.buffer, o.keeps.indices.buffer, ...o.pages.shards];
}

function params(o: GpuKeepOperands, scale: number): number[] {
  return [
    firstTokenOffset(o.map),
    slotBaseOffset(o.map, o.layer),
    tableStartOffset(o.map, o.layer),
    Math.log2(o.pages.pagesPerShard),
    o.layer,
    floatBits(scale),
  ];
}

/** The most tokens that a kept sequence has in this step, and the most slots it has then. */
function extents({ keeps, map, layer }: GpuKeepOperands): { tokens: number; slots: number } {
  const words = map.indices.values, first = firstTokenOffset(map), base = slotBaseOffset(map, layer);
  let tokens = 0, slots = 0;
  for (let k = 0; k < keeps.count; k++) {
    const sequence = keeps.indices.values[KEEP_WORDS * k + KeepWord.sequence];
    const own = words[first + sequence + 1] - words[first + sequence];
    tokens = Math.max(tokens, own);
    slots = Math.max(slots, words[base + sequence] + own);
  }
  assert(tokens >= 1 && tokens <= GRID_MAX, "tokens of a sequence fit one grid dimension");
  return { tokens, slots };
}
