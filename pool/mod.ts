/** The KV pool as the layers above see it. */
export { ContiguousPool } from "./contiguous_pool.ts";
export { KvPool } from "./kv_pool.ts";
export type { Pool, Reservation } from "./pool.ts";
export { type PackedPages, type Packing, roomPages } from "./packing.ts";
export type { PoolShape } from "./pool_shape.ts";
export type { PoolGauges } from "./gauges.ts";
export { type PageOwner, SequencePages } from "./sequence_pages.ts";
export { chainOf, type PlacedImage, PrefixChain } from "./prefix_chain.ts";
