/** Records the attention operations: rope_write_kv, paged_attention, segment_attention. */
import type { Kernel } from "../../shaders/kernel.ts";
import { type AttentionTile, headChunks, tileTokensMax } from "../../shaders/attention_tile.wgsl.ts";
import { kvLayout } from "../../shaders/kv_address.wgsl.ts";
import { pagedAttentionKernel } from "../../shaders/paged_attention.wgsl.ts";
import { ropeWriteKvKernel } from "../../shaders/rope_write_kv.wgsl.ts";
import { segmentAttentionKernel } from "../../shaders/segment_attention.wgsl.ts";
import { assert } from "../core/assert.ts";
import type { HeadShape } from "../ops/backend.ts";
import { firstTokenOffset, type KvMap, slotBaseOffset, tableStartOffset } from "../ops/kv.ts";
import { tileLists } from "./attention_tiles.ts";
import { foldedGrid, GRID_MAX } from "./grid.ts";
import { floatBits, type GpuIndices, type GpuKvPages, type GpuTensor, type Recorder } from "./recorder.ts";

/** A KvMap whose indices are on the device. */
export type GpuKvMap = KvMap & { readonly indices: GpuIndices };

export function recordRopeWriteKv(
  recorder: Recorder,
  o: {
    qkv: GpuTensor;
    rotary: GpuTensor;
    shape: HeadShape;
    pages: GpuKvPages;
    map: GpuKvMap;
    layer: number;
  },
): void {
  assertHeads(o.shape, o.qkv);
  assertPages(o.shape, o.pages, o.map, o.layer);
  assert(o.qkv.rows === o.map.tokens, "a row of qkv is one token");
  assert(o.rotary.rows === o.qkv.rows && o.rotary.cols === o.shape.headDim, "rotary has a row a token");
  recorder.dispatch(
    ropeWriteKvKernel(o.shape, kvLayout(o.pages.shape, o.pages.shards.length)),
    [o.qkv.buffer, o.rotary.buffer, o.map.indices.buffer, ...o.pages.shards],
    [
      o.map.tokens,
      firstTokenOffset(o.map),
      slotBaseOffset(o.map, o.layer),
      tableStartOffset(o.map, o.layer),
      Math.log2(o.pages.pagesPerShard),
    ],
    foldedGrid(o.map.tokens),
  );
}

export function recordPagedAttention(
  recorder: Recorder,
  o: {
    qkv: GpuTensor;
    shape: HeadShape;
    scale: number;
    pages: GpuKvPages;
    map: GpuKvMap;
    layer: number;
    out: GpuTensor;
  },
): void {
  assertHeads(o.shape, o.qkv, o.out);
  assertPages(o.shape, o.pages, o.map, o.layer);
  assert(o.qkv.rows === o.map.tokens, "a row of qkv is one token");
  const layout = kvLayout(o.pages.shape, o.pages.shards.length);
  const first = firstTokenOffset(o.map);
  const bounds = o.map.indices.values.subarray(first, first + o.map.sequences + 1);
  recordTiles(recorder, o.shape, o.map.indices, bounds, (tile, count, list) => ({
    kernel: pagedAttentionKernel(o.shape, tile, layout),
    buffers: [o.qkv.buffer, list.buffer, o.map.indices.buffer, ...o.pages.shards, o.out.buffer],
    params: [
      count,
      floatBits(o.scale),
      first,
      slotBaseOffset(o.map, o.layer),
      tableStartOffset(o.map, o.layer),
      Math.log2(o.pages.pagesPerShard),
    ],
  }));
}

export function recordSegmentAttention(
  recorder: Recorder,
  o: { qkv: GpuTensor; shape: HeadShape; scale: number; segments: GpuIndices; out: GpuTensor },
): void {
  assertHeads(o.shape, o.qkv, o.out);
  const bounds = o.segments.values;
  assert(bounds[0] === 0 && bounds[bounds.length - 1] === o.qkv.rows, "segments cover all rows");
  recordTiles(recorder, o.shape, o.segments, bounds, (tile, count, list) => ({
    kernel: segmentAttentionKernel(o.shape, tile),
    buffers: [o.qkv.buffer, list.buffer, o.segments.buffer, o.out.buffer],
    params: [count, floatBits(o.scale)],
  }));
}

/** One dispatch per kernel variant that the tokens need. */
function recordTiles(
  recorder: Recorder,
  shape: HeadShape,
  source: GpuIndices,
  bounds: Uint32Array,
  dispatchOf: (tile: AttentionTile, count: number, list: GpuIndices) => {
    kernel: Kernel;
    buffers: GPUBuffer[];
    params: number[];
  },
): void {
  const z = shape.kvHeads * headChunks(shape).chunks;
  assert(z <= GRID_MAX, "heads fit one grid dimension");
  for (const { tokens, count, list } of tileLists(recorder, source, bounds, tileTokensMax(shape))) {
    const { kernel, buffers, params } = dispatchOf({ tokens }, count, list);
    const [x, y] = foldedGrid(count);
    recorder.dispatch(kernel, buffers, params, [x, y, z]);
  }
}

function assertHeads(shape: HeadShape, qkv: GpuTensor, out?: GpuTensor): void {
  const { heads, kvHeads, headDim } = shape;
  assert(heads % kvHeads === 0 && headDim % 4 === 0, "heads share KV heads evenly, in whole quads");
  assert(qkv.cols === (heads + 2 * kvHeads) * headDim, "a row of qkv is all its heads");
  assert(
    out === undefined || (out.rows === qkv.rows && out.cols === heads * headDim),
    "out has a row a token",
  );
}

function assertPages(shape: HeadShape, pages: GpuKvPages, map: KvMap, layer: number): void {
  assert(
    pages.shape.kvHeads === shape.kvHeads && pages.shape.headDim === shape.headDim,
    "pages fit the heads",
  );
  assert(layer >= 0 && layer < map.layers, "the map knows the layer");
}
