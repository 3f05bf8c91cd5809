// kv_fold_write: key (or value) d of head h in target slot target = x[g·kvHeads + h, d], where group g is
// (job, first, target, ·) and the job written is job + layer.
// jobs: see KvJobs. groups [groups, 4] u32. x [groups·kvHeads, headDim] f32. No two groups write one slot.
// One invocation per four values. Grid: folded into y beyond 65,535 workgroups.
// Reference: tests/reference/kv_fold.ts. Tolerance: "exact".
import type { Kernel } from "./kernel.ts";
import { KV_GROUPS, kvGrouping } from "./kv_group.wgsl.ts";
import { kvKey, type KvLayout, type KvPart, kvWriting } from "./kv_address.wgsl.ts";

/** Params: rows (groups · kvHeads), layer, shard shift. Bindings: jobs, groups, x, pages…. */
export function kvFoldWriteKernel(layout: KvLayout, part: KvPart): Kernel {
  return {
    key: `kv_fold_write ${part} ${kvKey(layout)}`,
    bindings: ["read", "read", "read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: 3,
    get code() {
      return code(layout, part);
    },
  };
}

function code(layout: KvLayout, part: KvPart): string {
  return `${KV_GROUPS}@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
${kvWriting(layout, 3)}
struct Params {
  rows: u32,
  layer: u32,
  shard_shift: u32,
}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
${kvGrouping(part)}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let item = item_of(id, grid);
  if (item >= params.rows * QUADS) { return; }
  let row = item / QUADS;
  let slot = groups[4u * (row / KV_HEADS) + 2u];
  store_quad(group_address(row, slot, 3u), quad_offset(item % QUADS), x[item]);
}
`;
}
