// kv_norm: scores[j·kvHeads + h, slot] = −‖K[h, slot]‖₂ of job j's source pages; nothing at or past its stored slots.
// jobs: see KvJobs. scores [jobs·kvHeads, slotsMax] f32. The sum of squares is one fma chain over ascending dimensions.
// One thread per (job, head, slot), 64 slots a workgroup. Grid: (slots / 64, rows folded into z).
// Reference: tests/reference/kv_norm.ts. Tolerance: "reduce".
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvReading } from "./kv_address.wgsl.ts";

/** Params: rows (jobs · kvHeads), slotsMax, shard shift. */
export function kvNormKernel(layout: KvLayout): Kernel {
  return {
    key: `kv_norm ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read_write"],
    paramWords: 3,
    get code() {
      return code(layout);
    },
  };
}

function code(layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvReading(layout, 1)}
@group(0) @binding(${1 + layout.shards}) var<storage, read_write> scores: array<f32>;
struct Params {
  rows: u32,
  slots_max: u32,
  shard_shift: u32,
}
@group(0) @binding(${2 + layout.shards}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.y + group.z * groups.y;
  if (row >= params.rows) { return; }
  let job = row / KV_HEADS;
  let slot = group.x * 64u + lane;
  if (slot >= jobs[6u * job]) { return; }
  let page = jobs[jobs[6u * job + 2u] + slot / PAGE_SLOTS];
  let key = key_address(page, row % KV_HEADS, slot);
  var squares = 0.0;
  for (var quad = 0u; quad < QUADS; quad += 1u) {
    let k = load_quad(key, quad * PAGE_SLOTS);
    squares = fma(k.w, k.w, fma(k.z, k.z, fma(k.y, k.y, fma(k.x, k.x, squares))));
  }
  scores[row * params.slots_max + slot] = -sqrt(squares);
}
`;
}
