// rope_write_kv: rotates the query and key heads of qkv in place, then stores key and value in their slot.
// qkv [tokens, (heads + 2·kvHeads)·headDim] f32, heads in the order q…, k…, v…. rotary [tokens, headDim] f32: cos, sin.
// Pairs (i, i + headDim/2): (a, b) → (a·cos − b·sin, b·cos + a·sin). map: see KvMap.
// One workgroup of 64 threads per token; threads stride over pairs, then over quads. Grid: tokens, folded into y.
// Reference: tests/reference/rope_write_kv.ts. Tolerance: "reduce"; "f16" for what is stored in f16 pages.
import type { HeadShape } from "../lib/ops/backend.ts";
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvWriting } from "./kv_address.wgsl.ts";

/** Params: tokens, first-token offset, slot-base offset, table-start offset (all in map), shard shift. */
export function ropeWriteKvKernel(shape: HeadShape, layout: KvLayout): Kernel {
  const shardBindings = Array<"read_write">(layout.shards).fill("read_write");
  return {
    key: `rope_write_kv q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read_write", "read", "read", ...shardBindings],
    paramWords: 5,
    get code() {
      return code(shape, layout);
    },
  };
}

function code(shape: HeadShape, layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> rotary: array<f32>;
@group(0) @binding(2) var<storage, read> map: array<u32>;
${kvWriting(layout, 3)}
struct Params {
  tokens: u32,
  first_token_offset: u32,
  slot_base_offset: u32,
  table_start_offset: u32,
  shard_shift: u32,
}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;

const HEADS: u32 = ${shape.heads}u;
const HEAD_DIM: u32 = ${shape.headDim}u;
const HALF: u32 = ${shape.headDim / 2}u;
const ROW: u32 = ${(shape.heads + 2 * shape.kvHeads) * shape.headDim}u;

fn quad_of(at: u32) -> vec4<f32> {
  return vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let token = group.x + group.y * groups.x;
  if (token >= params.tokens) { return; }
  let row = token * ROW;

  for (var pair = lane; pair < (HEADS + KV_HEADS) * HALF; pair += 64u) {
    let i = pair % HALF;
    let at = row + (pair / HALF) * HEAD_DIM + i;
    let cosine = rotary[token * HEAD_DIM + i];
    let sine = rotary[token * HEAD_DIM + HALF + i];
    let a = qkv[at];
    let b = qkv[at + HALF];
    qkv[at] = fma(a, cosine, -(b * sine));
    qkv[at + HALF] = fma(b, cosine, a * sine);
  }
  storageBarrier();

  let sequence = map[token];
  let slot = map[params.slot_base_offset + sequence] + token - map[params.first_token_offset + sequence];
  let page = map[map[params.table_start_offset + sequence] + slot / PAGE_SLOTS];
  for (var item = lane; item < KV_HEADS * QUADS; item += 64u) {
    let head = item / QUADS;
    let quad = item % QUADS;
    let key = row + (HEADS + head) * HEAD_DIM + 4u * quad;
    store_quad(key_address(page, head, slot), quad * PAGE_SLOTS, quad_of(key));
    store_quad(value_address(page, head, slot), quad, quad_of(key + KV_HEADS * HEAD_DIM));
  }
}
`;
}
