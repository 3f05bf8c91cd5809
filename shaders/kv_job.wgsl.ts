/**
 * What kernels of compression jobs share (see KvJobs). They take rows, a KV head of a job each: row = job · kvHeads + head,
 * folded into the grid's z. Expects `jobs` and `params.rows`, and what kv_address.wgsl.ts declares.
 * Reference: tests/reference/kv_pages.ts (listJobs).
 */
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvReading } from "./kv_address.wgsl.ts";

/** Opens a `main` of 64 threads: the row, its job and head, the job's stored slots, and where its source pages are listed. */
export const KV_ROW = `
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
  let slots = jobs[6u * job];
  let table = jobs[6u * job + 2u];`;

/** Target slots of one workgroup of {@link kvCopying}. */
export const KV_COPY_SLOTS = 16;

/**
 * A whole `main` that writes KV_COPY_SLOTS target slots of a row, by quads: `body` writes quad `quad` of target slot `to`, whose
 * page is `to_page`; `before` are statements before the first. Grid: (kept slots / KV_COPY_SLOTS, rows folded into z).
 */
export function kvCopying(body: string, before = ""): string {
  return `${KV_ROW}
${before}  let start = group.x * ${KV_COPY_SLOTS}u;
  let end = min(start + ${KV_COPY_SLOTS}u, jobs[6u * job + 1u]);
  let target_table = jobs[6u * job + 3u];
  for (var item = start * QUADS + lane; item < end * QUADS; item += 64u) {
    let to = item / QUADS;
    let quad = item % QUADS;
    let to_page = jobs[target_table + to / PAGE_SLOTS];
${body}
  }
}
`;
}

/** A kernel from pages to scores [rows, slotsMax] f32. Params: rows (jobs · kvHeads), slotsMax, shard shift, then `params`. */
export function kvScoring(
  name: string,
  layout: KvLayout,
  params: readonly string[],
  body: () => string,
): Kernel {
  return {
    key: `${name} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read_write"],
    paramWords: 3 + params.length,
    get code() {
      return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvReading(layout, 1)}
@group(0) @binding(${1 + layout.shards}) var<storage, read_write> scores: array<f32>;
struct Params {
  rows: u32,
  slots_max: u32,
  shard_shift: u32,
${params.map((param) => `  ${param}: u32,\n`).join("")}}
@group(0) @binding(${2 + layout.shards}) var<uniform> params: Params;
${body()}`;
    },
  };
}
