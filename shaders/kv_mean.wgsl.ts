// kv_mean: target slot i = mean of source slots i·f … i·f + f − 1 for i < ⌊n/f⌋, K and V apart; the remainder follows
// as stored. jobs: see KvJobs; a job keeps ⌊n/f⌋ + n mod f slots. Means are taken in f32 over ascending slots.
// Source and target pages are disjoint.
// A workgroup of 64 threads writes 16 slots of one head of one job. Grid: (slots / 16, rows folded into z).
// Reference: tests/reference/kv_mean.ts. Tolerance: "reduce"; "f16" with f16 pages.
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvWriting } from "./kv_address.wgsl.ts";

/** Target slots of one workgroup. */
export const KV_MEAN_SLOTS = 16;

/** Params: rows (jobs · kvHeads), factor, shard shift. */
export function kvMeanKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_mean ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: 3,
    get code() {
      return code(layout);
    },
  };
}

function code(layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvWriting(layout, 1)}
struct Params {
  rows: u32,
  factor: u32,
  shard_shift: u32,
}
@group(0) @binding(${1 + layout.shards}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y + group.z * groups.y;
  if (row >= params.rows) { return; }
  let job = row / KV_HEADS;
  let head = row % KV_HEADS;
  let start = group.x * ${KV_MEAN_SLOTS}u;
  let end = min(start + ${KV_MEAN_SLOTS}u, jobs[6u * job + 1u]);
  let source_table = jobs[6u * job + 2u];
  let target_table = jobs[6u * job + 3u];
  let means = jobs[6u * job] / params.factor;
  for (var item = start * QUADS + lane; item < end * QUADS; item += 64u) {
    let to = item / QUADS;
    let quad = item % QUADS;
    let to_page = jobs[target_table + to / PAGE_SLOTS];
    let to_key = key_address(to_page, head, to);
    let to_value = value_address(to_page, head, to);
    if (to < means) {
      var key_sum = vec4<f32>(0.0);
      var value_sum = vec4<f32>(0.0);
      for (var i = 0u; i < params.factor; i += 1u) {
        let from_slot = to * params.factor + i;
        let from_page = jobs[source_table + from_slot / PAGE_SLOTS];
        key_sum += load_quad(key_address(from_page, head, from_slot), quad * PAGE_SLOTS);
        value_sum += load_quad(value_address(from_page, head, from_slot), quad);
      }
      store_quad(to_key, quad * PAGE_SLOTS, key_sum / f32(params.factor));
      store_quad(to_value, quad, value_sum / f32(params.factor));
    } else {
      let from_slot = means * params.factor + (to - means);
      let from_page = jobs[source_table + from_slot / PAGE_SLOTS];
      store_words(to_key, quad * PAGE_SLOTS, load_words(key_address(from_page, head, from_slot), quad * PAGE_SLOTS));
      store_words(to_value, quad, load_words(value_address(from_page, head, from_slot), quad));
    }
  }
}
`;
}
