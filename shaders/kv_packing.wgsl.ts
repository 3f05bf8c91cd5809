// kv_packing: where codes and pairs of packed slots lie, see packedGroupWords in lib/ops/kv.ts; part of kv_pack and kv_unpack.
// Reference: tests/reference/kv_packing.ts
import { type KvBits, PACK_CHANNELS, packedGroupWords, PAIR_WORDS, valueParts } from "../lib/ops/kv.ts";
import { type KvLayout, kvRawWriting, kvWriting } from "./kv_address.wgsl.ts";

/** Words of the params that {@link packing} declares: shard shift, whether the tail is rounded. */
export const PACKING_PARAM_WORDS = 2;

/** WGSL: jobs at binding 0, the shards behind it, params, and load_pair, store_pair(table, word, …) with pairs as (scale, least). */
export function packing(layout: KvLayout, bits: KvBits): string {
  const { headDim, dtype } = layout;
  const codes = headDim * bits;
  const load = dtype === "f16"
    ? "return unpack2x16float(bitcast<u32>(load_raw(table, word)));"
    : "return vec2<f32>(load_raw(table, word), load_raw(table, word + 1u));";
  const store = dtype === "f16"
    ? "store_raw(table, word, bitcast<f32>(pack2x16float(pair)));"
    : "store_raw(table, word, pair.x);\n  store_raw(table, word + 1u, pair.y);";
  return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvWriting(layout, 1)}
struct Params {
  shard_shift: u32,
  tail: u32,
}
@group(0) @binding(${1 + layout.shards}) var<uniform> params: Params;
fn raw_page(index: u32) -> u32 { return jobs[index]; }
${kvRawWriting(layout)}
const BITS: u32 = ${bits}u;
const MOST: f32 = ${2 ** bits - 1}.0;
const MASK: u32 = ${2 ** bits - 1}u;
const PER_WORD: u32 = ${32 / bits}u;
const HEAD_DIM: u32 = ${headDim}u;
const PART_QUADS: u32 = ${PACK_CHANNELS / 4}u; // quads of a value that share a pair
const PARTS: u32 = ${valueParts(headDim)}u;
const PAIR_WORDS: u32 = ${PAIR_WORDS[dtype]}u;
// Words from the beginning of a group's head.
const KEY_PAIRS: u32 = ${codes}u;
const VALUE_CODES: u32 = KEY_PAIRS + HEAD_DIM * PAIR_WORDS;
const VALUE_PAIRS: u32 = VALUE_CODES + ${codes}u;
const GROUP_WORDS: u32 = ${packedGroupWords({ headDim, dtype }, bits)}u;

fn load_pair(table: u32, word: u32) -> vec2<f32> {
  ${load}
}
fn store_pair(table: u32, word: u32, pair: vec2<f32>) {
  ${store}
}
`;
}
