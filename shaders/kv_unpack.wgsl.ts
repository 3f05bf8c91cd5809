// kv_unpack: target slots = what the codes in the job's keep pages stand for. See Step.kvUnpack and packedGroupWords.
// jobs: see KvJobs. One workgroup of 64 threads per (group, KV head, job); threads stride over quads of slots.
// Grid: (groups, kvHeads, jobs).
// Reference: tests/reference/kv_unpack.ts. Tolerance: "reduce"; "f16" with f16 pages.
import type { KvBits } from "../lib/ops/kv.ts";
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout } from "./kv_address.wgsl.ts";
import { packing, PACKING_PARAM_WORDS } from "./kv_packing.wgsl.ts";

/** Params: see kv_packing. */
export function kvUnpackKernel(layout: KvLayout, bits: KvBits): Kernel {
  return {
    key: `kv_unpack b${bits} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: PACKING_PARAM_WORDS,
    get code() {
      return code(layout, bits);
    },
  };
}

function code(layout: KvLayout, bits: KvBits): string {
  return `${packing(layout, bits)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.z;
  let head = group.y;
  let first = group.x * 32u;
  if (first >= jobs[6u * job]) { return; }
  let target_table = jobs[6u * job + 3u];
  let table = jobs[6u * job + 4u];
  let word = jobs[6u * job + 5u] + (group.x * KV_HEADS + head) * GROUP_WORDS;
  for (var item = lane; item < 32u * QUADS; item += 64u) {
    let t = item / QUADS;
    let quad = item % QUADS;
    let slot = first + t;
    let page = jobs[target_table + slot / PAGE_SLOTS];
    var key = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i += 1u) {
      let d = 4u * quad + i;
      let codes = bitcast<u32>(load_raw(table, word + d * BITS + t / PER_WORD));
      let pair = load_pair(table, word + KEY_PAIRS + d * PAIR_WORDS);
      key[i] = f32((codes >> ((t % PER_WORD) * BITS)) & MASK) * pair.x + pair.y;
    }
    store_quad(key_address(page, head, slot), quad * PAGE_SLOTS, key);
    let index = t * HEAD_DIM + 4u * quad;
    let codes = bitcast<u32>(load_raw(table, word + VALUE_CODES + index / PER_WORD)) >> ((index % PER_WORD) * BITS);
    let four = (vec4<u32>(codes) >> vec4<u32>(0u, BITS, 2u * BITS, 3u * BITS)) & vec4<u32>(MASK);
    let pair = load_pair(table, word + VALUE_PAIRS + (t * PARTS + quad / PART_QUADS) * PAIR_WORDS);
    store_quad(value_address(page, head, slot), quad, vec4<f32>(four) * pair.x + vec4<f32>(pair.y));
  }
}
`;
}
