// kv_pack: codes of few bits of whole groups of 32 target slots, as raw words of the job's keep pages; a shorter last group is
// replaced by what its codes would stand for, in place, if asked. See Step.kvPack and packedGroupWords.
// jobs: see KvJobs. One workgroup of 64 threads per (group, KV head, job): keys, a thread a quad of channels; then values, a thread
// a slot. Grid: (groups, kvHeads, jobs).
// Reference: tests/reference/kv_pack.ts. Tolerance: a code may be its neighbour where the quotient is near a half.
import type { KvBits } from "../lib/ops/kv.ts";
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout } from "./kv_address.wgsl.ts";
import { packing, PACKING_PARAM_WORDS } from "./kv_packing.wgsl.ts";

/** Params: see kv_packing. */
export function kvPackKernel(layout: KvLayout, bits: KvBits): Kernel {
  return {
    key: `kv_pack b${bits} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: PACKING_PARAM_WORDS,
    get code() {
      return code(layout, bits);
    },
  };
}

function code(layout: KvLayout, bits: KvBits): string {
  const stored = (value: string) => layout.dtype === "f16" ? `quantizeToF16(${value})` : value;
  return `${packing(layout, bits)}
fn scale_of(least: vec4<f32>, largest: vec4<f32>) -> vec4<f32> {
  let scale = ${stored("(largest - least) / MOST")};
  return select(scale, vec4<f32>(1.0), scale == vec4<f32>(0.0));
}
fn code_of(x: vec4<f32>, scale: vec4<f32>, least: vec4<f32>) -> vec4<f32> {
  return clamp(round((x - least) / scale), vec4<f32>(0.0), vec4<f32>(MOST));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.z;
  let head = group.y;
  let slots = jobs[6u * job + 1u];
  let first = group.x * 32u;
  if (first >= slots) { return; }
  let count = min(32u, slots - first);
  let whole = count == 32u;
  if (!whole && params.tail == 0u) { return; }
  let target_table = jobs[6u * job + 3u];
  let table = jobs[6u * job + 4u];
  let word = jobs[6u * job + 5u] + (group.x * KV_HEADS + head) * GROUP_WORDS;

  for (var quad = lane; quad < QUADS; quad += 64u) {
    var least = vec4<f32>(3.4e38);
    var largest = vec4<f32>(-3.4e38);
    for (var t = 0u; t < count; t += 1u) {
      let slot = first + t;
      let x = load_quad(key_address(jobs[target_table + slot / PAGE_SLOTS], head, slot), quad * PAGE_SLOTS);
      least = min(least, x);
      largest = max(largest, x);
    }
    let scale = scale_of(least, largest);
    least = ${stored("least")};
    if (whole) {
      for (var i = 0u; i < 4u; i += 1u) {
        store_pair(table, word + KEY_PAIRS + (4u * quad + i) * PAIR_WORDS, vec2<f32>(scale[i], least[i]));
      }
      for (var part = 0u; part < BITS; part += 1u) {
        var codes = vec4<u32>(0u);
        for (var c = 0u; c < PER_WORD; c += 1u) {
          let slot = first + part * PER_WORD + c;
          let x = load_quad(key_address(jobs[target_table + slot / PAGE_SLOTS], head, slot), quad * PAGE_SLOTS);
          codes |= vec4<u32>(code_of(x, scale, least)) << vec4<u32>(c * BITS);
        }
        for (var i = 0u; i < 4u; i += 1u) {
          store_raw(table, word + (4u * quad + i) * BITS + part, bitcast<f32>(codes[i]));
        }
      }
    } else {
      for (var t = 0u; t < count; t += 1u) {
        let slot = first + t;
        let key = key_address(jobs[target_table + slot / PAGE_SLOTS], head, slot);
        let code = code_of(load_quad(key, quad * PAGE_SLOTS), scale, least);
        store_quad(key, quad * PAGE_SLOTS, code * scale + least);
      }
    }
  }

  if (lane >= count) { return; }
  let slot = first + lane;
  let value = value_address(jobs[target_table + slot / PAGE_SLOTS], head, slot);
  for (var part = 0u; part < PARTS; part += 1u) {
    let begin = part * PART_QUADS;
    let end = min(begin + PART_QUADS, QUADS);
    var low = vec4<f32>(3.4e38);
    var high = vec4<f32>(-3.4e38);
    for (var quad = begin; quad < end; quad += 1u) {
      let x = load_quad(value, quad);
      low = min(low, x);
      high = max(high, x);
    }
    var least = vec4<f32>(min(min(low.x, low.y), min(low.z, low.w)));
    let scale = scale_of(least, vec4<f32>(max(max(high.x, high.y), max(high.z, high.w))));
    least = ${stored("least")};
    if (whole) {
      store_pair(table, word + VALUE_PAIRS + (lane * PARTS + part) * PAIR_WORDS, vec2<f32>(scale.x, least.x));
    }
    var codes = 0u;
    for (var quad = begin; quad < end; quad += 1u) {
      let code = code_of(load_quad(value, quad), scale, least);
      if (!whole) {
        store_quad(value, quad, code * scale + least);
        continue;
      }
      let bits = vec4<u32>(code) << vec4<u32>(0u, BITS, 2u * BITS, 3u * BITS);
      let shift = (4u * quad % PER_WORD) * BITS;
      codes |= (bits.x | bits.y | bits.z | bits.w) << shift;
      // The last quad of a word stores it.
      if ((4u * quad + 4u) % PER_WORD == 0u) {
        store_raw(table, word + VALUE_CODES + (lane * HEAD_DIM + 4u * quad) / PER_WORD, bitcast<f32>(codes));
        codes = 0u;
      }
    }
  }
}
`;
}
