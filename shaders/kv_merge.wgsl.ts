// kv_merge: slots that go are folded, half way, into the most similar of those that stay, see Step.kvMerge. Two kernels:
// kv_nearest finds, for every slot that goes, the rank of the kept slot with the largest cosine of keys; kv_merge writes the means.
// jobs: see KvJobs. kept [jobs·kvHeads, keptMax] u32, nearest [jobs·kvHeads, slotsMax] u32. Sums in f32 over ascending slots.
// kv_nearest: one thread per (slot, row). Grid: (slots / 64, rows folded into z).
// kv_merge: one workgroup of 64 threads per (target slot, row), a thread a quad at a time. Grid: (kept, rows folded into z).
// Reference: tests/reference/kv_merge.ts. Tolerance: "reduce"; "f16" with f16 pages.
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvReading, kvWriting } from "./kv_address.wgsl.ts";
import { KV_ROW } from "./kv_job.wgsl.ts";

/** Params of both: rows (jobs · kvHeads), slotsMax, keptMax, shard shift. */
const PARAMS = `
struct Params {
  rows: u32,
  slots_max: u32,
  kept_max: u32,
  shard_shift: u32,
}
const STAYS: u32 = 0xffffffffu;
`;

export function kvNearestKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_nearest ${kvKey(layout)}`,
    bindings: ["read", "read", ...Array<"read">(layout.shards).fill("read"), "read_write"],
    paramWords: 4,
    get code() {
      return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> kept: array<u32>;
${kvReading(layout, 2)}
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> nearest: array<u32>;
${PARAMS}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
${KV_ROW}
  let slot = group.x * 64u + lane;
  if (slot >= slots) { return; }
  let own = key_address(jobs[table + slot / PAGE_SLOTS], head, slot);
  var best = 0u;
  var highest = -3.4e38;
  for (var i = 0u; i < jobs[6u * job + 1u]; i += 1u) {
    let other_slot = kept[row * params.kept_max + i];
    if (other_slot == slot) {
      best = STAYS;
      break;
    }
    let other = key_address(jobs[table + other_slot / PAGE_SLOTS], head, other_slot);
    var product = 0.0;
    var squares = 0.0;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
      let k = load_quad(other, quad * PAGE_SLOTS);
      product += dot(load_quad(own, quad * PAGE_SLOTS), k);
      squares += dot(k, k);
    }
    // The slot's own length is the same for all.
    let cosine = product / max(sqrt(squares), 1e-12);
    if (cosine > highest) {
      highest = cosine;
      best = i;
    }
  }
  nearest[row * params.slots_max + slot] = best;
}
`;
    },
  };
}

export function kvMergeKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_merge ${kvKey(layout)}`,
    bindings: ["read", "read", "read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: 4,
    get code() {
      return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> kept: array<u32>;
@group(0) @binding(2) var<storage, read> nearest: array<u32>;
${kvWriting(layout, 3)}
${PARAMS}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
${KV_ROW}
  let to = group.x;
  if (to >= jobs[6u * job + 1u]) { return; }
  let pivot = kept[row * params.kept_max + to];
  let pivot_page = jobs[table + pivot / PAGE_SLOTS];
  let to_page = jobs[jobs[6u * job + 3u] + to / PAGE_SLOTS];
  for (var quad = lane; quad < QUADS; quad += 64u) {
    let own_key = load_quad(key_address(pivot_page, head, pivot), quad * PAGE_SLOTS);
    let own_value = load_quad(value_address(pivot_page, head, pivot), quad);
    var key = own_key;
    var value = own_value;
    var count = 1.0;
    for (var slot = 0u; slot < slots; slot += 1u) {
      if (nearest[row * params.slots_max + slot] != to) { continue; }
      let page = jobs[table + slot / PAGE_SLOTS];
      key += 0.5 * (own_key + load_quad(key_address(page, head, slot), quad * PAGE_SLOTS));
      value += 0.5 * (own_value + load_quad(value_address(page, head, slot), quad));
      count += 1.0;
    }
    store_quad(key_address(to_page, head, to), quad * PAGE_SLOTS, key / count);
    store_quad(value_address(to_page, head, to), quad, value / count);
  }
}
`;
    },
  };
}
