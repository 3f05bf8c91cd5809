// kv_key_diff: scores[j·kvHeads + h, slot] = −cos(K[h, slot], anchor), anchor = mean over the job's slots of K / ‖K‖.
// jobs: see KvJobs. scores [jobs·kvHeads, slotsMax] f32. Sums in f32 in a fixed order.
// One workgroup of 256 threads per row: inverse lengths (kept in scores for a while), the anchor by quads and parts of the
// slots, then the cosines. Grid: rows, folded into y.
// Reference: tests/reference/kv_key_diff.ts. Tolerance: "reduce".
import type { Kernel } from "./kernel.ts";
import type { KvLayout } from "./kv_address.wgsl.ts";
import { kvScoring } from "./kv_job.wgsl.ts";

export function kvKeyDiffKernel(layout: KvLayout): Kernel {
  return kvScoring("kv_key_diff", layout, [], () => CODE);
}

const CODE = `
const THREADS: u32 = 256u;
const PARTS: u32 = THREADS / QUADS;
var<workgroup> sums: array<vec4<f32>, THREADS>;
var<workgroup> anchor: array<vec4<f32>, QUADS>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let job = row / KV_HEADS;
  let head = row % KV_HEADS;
  let slots = jobs[6u * job];
  let table = jobs[6u * job + 2u];
  let first = row * params.slots_max;

  for (var slot = lane; slot < slots; slot += THREADS) {
    let key = key_address(jobs[table + slot / PAGE_SLOTS], head, slot);
    var squares = 0.0;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
      let k = load_quad(key, quad * PAGE_SLOTS);
      squares += dot(k, k);
    }
    scores[first + slot] = 1.0 / max(sqrt(squares), 1e-12);
  }
  storageBarrier();
  workgroupBarrier();

  let part = lane / QUADS;
  var sum = vec4<f32>(0.0);
  if (part < PARTS) {
    for (var slot = part; slot < slots; slot += PARTS) {
      let key = key_address(jobs[table + slot / PAGE_SLOTS], head, slot);
      sum += load_quad(key, (lane % QUADS) * PAGE_SLOTS) * scores[first + slot];
    }
  }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane < QUADS) {
    var total = vec4<f32>(0.0);
    for (var p = 0u; p < PARTS; p += 1u) { total += sums[p * QUADS + lane]; }
    anchor[lane] = total;
  }
  workgroupBarrier();

  var length = 0.0;
  for (var quad = 0u; quad < QUADS; quad += 1u) { length += dot(anchor[quad], anchor[quad]); }
  length = max(sqrt(length), 1e-12);
  for (var slot = lane; slot < slots; slot += THREADS) {
    let key = key_address(jobs[table + slot / PAGE_SLOTS], head, slot);
    var cosine = 0.0;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
      cosine += dot(load_quad(key, quad * PAGE_SLOTS), anchor[quad]);
    }
    scores[first + slot] = -cosine * scores[first + slot] / length;
  }
}
`;
