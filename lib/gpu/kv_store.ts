/** The KV pool's device memory: pages in up to four buffers, each within the binding limit. */
import { assert } from "../core/assert.ts";
import { KV_ELEMENT_BYTES, type KvShape } from "../ops/kv.ts";
import type { Buffers } from "./buffers.ts";
import type { GpuKvPages } from "./recorder.ts";

/** Kernels that touch pages bind this many buffers at most, beside their operands. */
export const KV_SHARDS_MAX = 4;

/**
 * Bytes of KV pages that fit for every page size. A shard holds a power of two of pages, so that kernels find it by a
 * shift; in the worst case that fills just over half of a binding.
 */
export function kvBytesMax(sliceBytesMax: number): number {
  return KV_SHARDS_MAX * sliceBytesMax / 2;
}

export function createKvPages(buffers: Buffers, sliceBytesMax: number, shape: KvShape): GpuKvPages {
  const { dtype, kvHeads, headDim, pageBytes, pageSlots, pageCount } = shape;
  assert(
    pageBytes === pageSlots * 2 * kvHeads * headDim * KV_ELEMENT_BYTES[dtype],
    "a page's bytes are those of its slots",
  );
  assert(pageCount >= 1 && pageBytes <= sliceBytesMax, "the pool has a page, and a page fits one binding");
  const pagesPerShard = 2 ** Math.floor(Math.log2(sliceBytesMax / pageBytes));
  const shardCount = Math.ceil(pageCount / pagesPerShard);
  assert(
    shardCount <= KV_SHARDS_MAX,
    `${pageCount} pages of ${pageBytes} bytes fit ${KV_SHARDS_MAX} bindings`,
  );
  const shards = Array.from({ length: shardCount }, (_, shard) => {
    const pages = Math.min(pagesPerShard, pageCount - shard * pagesPerShard);
    return buffers.create(`kv pages ${shard}`, pages * pageBytes);
  });
  return { shape, shards, pagesPerShard };
}
