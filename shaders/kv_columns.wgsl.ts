// kv_columns: score = kept column sum / query heads of a KV head, divided by n − slot if asked, plus a bias, see Step.kvColumns.
// jobs: see KvJobs, with keep tables: [kvHeads][slots] as raw words. bias [jobs, slotsMax], scores [jobs·kvHeads, slotsMax] f32.
// One thread per (slot, KV head, job). Grid: (slots / 64, kvHeads, jobs).
// Reference: tests/reference/kv_columns.ts. Tolerance: "reduce".
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvRawReading, kvReading } from "./kv_address.wgsl.ts";

/** Params: slotsMax, shard shift, query heads of a KV head, whether sums are divided by n − slot, whether there is a bias. */
export function kvColumnsKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_columns ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read", "read_write"],
    paramWords: 5,
    get code() {
      return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvReading(layout, 1)}
@group(0) @binding(${1 + layout.shards}) var<storage, read> bias: array<f32>;
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> scores: array<f32>;
struct Params {
  slots_max: u32,
  shard_shift: u32,
  group: u32,
  seen: u32,
  biased: u32,
}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
fn raw_page(index: u32) -> u32 { return jobs[index]; }
${kvRawReading(layout)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.z;
  let slots = jobs[6u * job];
  let slot = group.x * 64u + lane;
  if (slot >= slots) { return; }
  let sum = load_raw(jobs[6u * job + 4u], jobs[6u * job + 5u] + group.y * slots + slot);
  let queries = select(1u, slots - slot, params.seen == 1u);
  var score = sum / f32(params.group * queries);
  if (params.biased == 1u) { score += bias[job * params.slots_max + slot]; }
  scores[(job * KV_HEADS + group.y) * params.slots_max + slot] = score;
}
`;
    },
  };
}
