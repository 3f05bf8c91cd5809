// kv_top: per row of scores the job's kept-count slots with the largest scores, ascending by slot, ties to the lower slot.
// jobs: see KvJobs. scores [rows, slots_max] f32, rows = jobs·kv_heads. kept [rows, kept_max] u32.
// Scores are compared as monotone u32 keys. The kept-count-th largest key is found bit by bit from the top (32 counts,
// integers, so that their order does not matter); then each thread walks its own run of neighbouring slots and a scan
// over the threads says where its slots go.
// One workgroup per row, of a power of two of threads, as many as pays (lib/gpu/compression.ts).
// Grid: rows, folded into y.
// Reference: tests/reference/kv_top.ts. Tolerance: "exact".
import type { Kernel } from "./kernel.ts";

/** Params: rows, kvHeads, slotsMax, keptMax. */
export function kvTopKernel(threads: number): Kernel {
  return {
    key: `kv_top ${threads}`,
    bindings: ["read", "read", "read_write"],
    paramWords: 4,
    get code() {
      return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> scores: array<u32>;
@group(0) @binding(2) var<storage, read_write> kept: array<u32>;
struct Params {
  rows: u32,
  kv_heads: u32,
  slots_max: u32,
  kept_max: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

const THREADS: u32 = ${threads}u;
var<workgroup> counts: array<atomic<u32>, 32>; // one a bit
var<workgroup> scan: array<vec2<u32>, THREADS>; // slots above the threshold, slots at it

// Keys ascend with the number; −0 and 0 are equal.
fn key_of_bits(bits: u32) -> u32 {
  if ((bits & 0x80000000u) == 0u || bits == 0x80000000u) { return bits | 0x80000000u; }
  return ~bits;
}

@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let job = row / params.kv_heads;
  let slots = jobs[6u * job];
  let wanted = jobs[6u * job + 1u];
  let first = row * params.slots_max;

  var threshold = 0u;
  for (var bit = 0u; bit < 32u; bit += 1u) {
    let candidate = threshold | (0x80000000u >> bit);
    var own = 0u;
    for (var slot = lane; slot < slots; slot += THREADS) {
      own += select(0u, 1u, key_of_bits(scores[first + slot]) >= candidate);
    }
    atomicAdd(&counts[bit], own);
    workgroupBarrier();
    if (atomicLoad(&counts[bit]) >= wanted) { threshold = candidate; }
  }

  let run = (slots + THREADS - 1u) / THREADS;
  let begin = min(lane * run, slots);
  let end = min(begin + run, slots);
  var own = vec2<u32>(0u);
  for (var slot = begin; slot < end; slot += 1u) {
    let key = key_of_bits(scores[first + slot]);
    own += vec2<u32>(select(0u, 1u, key > threshold), select(0u, 1u, key == threshold));
  }
  scan[lane] = own;
  workgroupBarrier();
  for (var step = 1u; step < THREADS; step *= 2u) {
    var before = vec2<u32>(0u);
    if (lane >= step) { before = scan[lane - step]; }
    workgroupBarrier();
    scan[lane] += before;
    workgroupBarrier();
  }

  // Of the slots at the threshold the first ones fill what those above it leave.
  let ties = wanted - scan[THREADS - 1u].x;
  var above = scan[lane].x - own.x;
  var equal = scan[lane].y - own.y;
  for (var slot = begin; slot < end; slot += 1u) {
    let key = key_of_bits(scores[first + slot]);
    if (key > threshold || (key == threshold && equal < ties)) {
      kept[row * params.kept_max + above + min(equal, ties)] = slot;
    }
    if (key > threshold) { above += 1u; }
    if (key == threshold) { equal += 1u; }
  }
}
`;
    },
  };
}
