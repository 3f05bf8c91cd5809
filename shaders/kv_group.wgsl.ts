/**
 * What kernels of kv_fold share: one invocation per four values of rows, a KV head of a group each: row = group · kvHeads + head.
 * Groups are (job, first source slot, target slot, ·); the job read or written is job + layer (see KvJobs).
 * Reference: tests/reference/kv_fold.ts.
 */
import type { KvPart } from "./kv_address.wgsl.ts";

/** The first two bindings. */
export const KV_GROUPS = `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> groups: array<u32>;
`;

/**
 * Behind `params` and what kv_address.wgsl.ts declares, for grids folded into y:
 *
 *   item_of(id, grid)                     an invocation's number
 *   group_address(row, slot, side)        quad 0 of a row's key (or value) in a slot of its sources (side 2) or targets (side 3)
 *   quad_offset(quad)                     how far its other quads are from there
 */
export function kvGrouping(part: KvPart): string {
  return `
fn item_of(id: vec3<u32>, grid: vec3<u32>) -> u32 {
  return id.x + id.y * grid.x * 64u;
}
fn group_address(row: u32, slot: u32, side: u32) -> Address {
  let table = jobs[6u * (groups[4u * (row / KV_HEADS)] + params.layer) + side];
  return ${part}_address(jobs[table + slot / PAGE_SLOTS], row % KV_HEADS, slot);
}
fn quad_offset(quad: u32) -> u32 {
  return quad${part === "key" ? " * PAGE_SLOTS" : ""};
}
`;
}
