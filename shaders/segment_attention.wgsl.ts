// segment_attention: out[t, h] = Σ_u softmax_u(scale · q[t, h]·k[u]) · v[u] over all rows u of the segment of row t.
// qkv [tokens, (heads + 2·kvHeads)·headDim] f32. out [tokens, heads·headDim] f32. segments [n + 1]: bounds of rows.
// Tiles, order of sums and grid: attention_tile.wgsl.ts; the slots of a tile are the rows of its segment.
// Reference: tests/reference/segment_attention.ts. Tolerance: "reduce".
import type { HeadShape } from "../lib/ops/backend.ts";
import { type AttentionTile, attentionTile } from "./attention_tile.wgsl.ts";
import type { Kernel } from "./kernel.ts";

/** Params: tiles, bits of scale. */
export function segmentAttentionKernel(shape: HeadShape, tile: AttentionTile): Kernel {
  return {
    key: `segment_attention q${shape.heads} ${shape.kvHeads}x${shape.headDim} t${tile.tokens}`,
    bindings: ["read", "read", "read", "read_write"],
    paramWords: 2,
    get code() {
      return code(shape, tile);
    },
  };
}

function code(shape: HeadShape, tile: AttentionTile): string {
  return `
alias Address = u32;
const QUADS: u32 = ${shape.headDim / 4}u;
const KV_HEADS: u32 = ${shape.kvHeads}u;
@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> tiles: array<u32>;
@group(0) @binding(2) var<storage, read> segments: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;
struct Params {
  tiles: u32,
  scale: f32,
}
@group(0) @binding(4) var<uniform> params: Params;

fn slots_seen(segment: u32, token: u32) -> u32 {
  return segments[segment + 1u] - segments[segment];
}
fn find_key(segment: u32, head: u32, slot: u32) -> Address {
  return (segments[segment] + slot) * ROW_QUADS + (HEADS + head) * QUADS;
}
fn find_value(segment: u32, head: u32, slot: u32) -> Address {
  return (segments[segment] + slot) * ROW_QUADS + (HEADS + KV_HEADS + head) * QUADS;
}
fn load_key(address: Address, quad: u32) -> vec4<f32> {
  return qkv[address + quad];
}
fn load_value(address: Address, quad: u32) -> vec4<f32> {
  return qkv[address + quad];
}
${attentionTile(shape, tile, "all")}
`;
}
