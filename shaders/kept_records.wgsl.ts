// kept_records: how keep_queries, keep_moments and keep_columns find their sequences; part of those kernels.
// Reference: tests/reference/kv_pages.ts
import type { HeadShape } from "../lib/ops/backend.ts";
import { headConstants } from "./head_constants.wgsl.ts";
import { type KvLayout, kvRawWriting, kvWriting } from "./kv_address.wgsl.ts";

/** Words of the params that {@link keptRecords} declares. */
export const KEPT_PARAM_WORDS = 6;

/**
 * WGSL that declares qkv, map and keeps at bindings 0 … 2, the shards behind them, params behind those `more` bindings later,
 * and the record of a kept sequence.
 */
export function keptRecords(shape: HeadShape, layout: KvLayout, more: number): string {
  return `
@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> map: array<u32>;
@group(0) @binding(2) var<storage, read> keeps: array<u32>;
${kvWriting(layout, 3)}
struct Params {
  first_token_offset: u32,
  slot_base_offset: u32,
  table_start_offset: u32,
  shard_shift: u32,
  layer: u32,
  scale: f32,
}
@group(0) @binding(${3 + layout.shards + more}) var<uniform> params: Params;

${headConstants(shape)}
const ROW_QUADS: u32 = ${(shape.heads + 2 * shape.kvHeads) * shape.headDim / 4}u;

fn raw_page(index: u32) -> u32 { return keeps[index]; }
${kvRawWriting(layout)}
struct Kept {
  first: u32, // token of the step
  tokens: u32,
  slot_base: u32,
  page_table: u32, // in map
  table: u32, // in keeps
  prompt_tokens: u32,
  setting: u32,
}
fn kept_record(index: u32) -> Kept {
  let sequence = keeps[4u * index];
  let first = map[params.first_token_offset + sequence];
  return Kept(
    first,
    map[params.first_token_offset + sequence + 1u] - first,
    map[params.slot_base_offset + sequence],
    map[params.table_start_offset + sequence],
    keeps[4u * index + 1u],
    keeps[4u * index + 2u],
    keeps[4u * index + 3u],
  );
}
`;
}
