// paged_attention: out[t, h] = Σ_slot softmax_slot(scale · q[t, h]·K[slot]) · V[slot] over the slots token t sees.
// qkv [tokens, (heads + 2·kvHeads)·headDim] f32, rotated. out [tokens, heads·headDim] f32. map: see KvMap.
// Token t of sequence s sees slots 0 … slotBase(s) + t − firstToken(s), found through the layer's page table.
// Tiles, order of sums and grid: attention_tile.wgsl.ts.
// Reference: tests/reference/paged_attention.ts. Tolerance: "reduce"; "f16" with f16 pages.
import type { HeadShape } from "../lib/ops/backend.ts";
import { type AttentionTile, attentionTile } from "./attention_tile.wgsl.ts";
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvReading } from "./kv_address.wgsl.ts";

/** Params: tiles, bits of scale, then offsets in map: first tokens, slot bases, table starts; shard shift. */
export function pagedAttentionKernel(shape: HeadShape, tile: AttentionTile, layout: KvLayout): Kernel {
  const shardBindings = Array<"read">(layout.shards).fill("read");
  return {
    key: `paged_attention q${shape.heads} t${tile.tokens} ${kvKey(layout)}`,
    bindings: ["read", "read", "read", ...shardBindings, "read_write"],
    paramWords: 6,
    get code() {
      return code(shape, tile, layout);
    },
  };
}

function code(shape: HeadShape, tile: AttentionTile, layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> tiles: array<u32>;
@group(0) @binding(2) var<storage, read> map: array<u32>;
${kvReading(layout, 3)}
@group(0) @binding(${3 + layout.shards}) var<storage, read_write> out: array<vec4<f32>>;
struct Params {
  tiles: u32,
  scale: f32,
  first_token_offset: u32,
  slot_base_offset: u32,
  table_start_offset: u32,
  shard_shift: u32,
}
@group(0) @binding(${4 + layout.shards}) var<uniform> params: Params;

fn slots_seen(sequence: u32, token: u32) -> u32 {
  return map[params.slot_base_offset + sequence] + token - map[params.first_token_offset + sequence] + 1u;
}
fn page_of(sequence: u32, slot: u32) -> u32 {
  return map[map[params.table_start_offset + sequence] + slot / PAGE_SLOTS];
}
fn find_key(sequence: u32, head: u32, slot: u32) -> Address {
  return key_address(page_of(sequence, slot), head, slot);
}
fn find_value(sequence: u32, head: u32, slot: u32) -> Address {
  return value_address(page_of(sequence, slot), head, slot);
}
fn load_key(address: Address, quad: u32) -> vec4<f32> {
  return load_quad(address, quad * PAGE_SLOTS);
}
fn load_value(address: Address, quad: u32) -> vec4<f32> {
  return load_quad(address, quad);
}
${attentionTile(shape, tile, "causal")}
`;
}
