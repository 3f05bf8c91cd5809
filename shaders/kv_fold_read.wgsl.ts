// kv_fold_read: out[g·kvHeads + h, i·headDim + d] = key (or value) d of head h in source slot first + i, i < count,
// where group g is (job, first, target, ·) and the job read is job + layer.
// jobs: see KvJobs. groups [groups, 4] u32. out [groups·kvHeads, count·headDim] f32. f16 is widened.
// One invocation per four values. Grid: folded into y beyond 65,535 workgroups.
// Reference: tests/reference/kv_fold.ts. Tolerance: "exact".
import type { Kernel } from "./kernel.ts";
import { KV_GROUPS, kvGrouping } from "./kv_group.wgsl.ts";
import { kvKey, type KvLayout, type KvPart, kvReading } from "./kv_address.wgsl.ts";

/** Params: rows (groups · kvHeads), count, layer, shard shift. Bindings: jobs, groups, pages…, out. */
export function kvFoldReadKernel(layout: KvLayout, part: KvPart): Kernel {
  return {
    key: `kv_fold_read ${part} ${kvKey(layout)}`,
    bindings: ["read", "read", ...Array<"read">(layout.shards).fill("read"), "read_write"],
    paramWords: 4,
    get code() {
      return code(layout, part);
    },
  };
}

function code(layout: KvLayout, part: KvPart): string {
  return `${KV_GROUPS}${kvReading(layout, 2)}
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> out: array<vec4<f32>>;
struct Params {
  rows: u32,
  count: u32,
  layer: u32,
  shard_shift: u32,
}
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
${kvGrouping(part)}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
  let item = item_of(id, grid);
  let chunks = params.count * QUADS;
  if (item >= params.rows * chunks) { return; }
  let row = item / chunks;
  let slot = groups[4u * (row / KV_HEADS) + 1u] + item % chunks / QUADS;
  out[item] = load_quad(group_address(row, slot, 2u), quad_offset(item % QUADS));
}
`;
}
