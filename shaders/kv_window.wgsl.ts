// kv_window: scores from what the last queries of a prompt look at, see Step.kvWindow. Three kernels: kv_window_rows finds, for
// every kept query, the maximum and the sum of exponentials of its scores; kv_window_mean takes the weights again, slot by slot,
// and averages them over the window and the query heads of a KV head; kv_window smooths along slots and protects the window.
// jobs: see KvJobs, with keep tables: [window][heads][headDim] as raw words. Sums in f32 in a fixed order.
// kv_window_rows: one workgroup of 64 threads per (query row, query head, job). Grid: (window, heads, jobs).
// kv_window_mean: one thread per (slot, KV head, job). Grid: (slots / 64, kvHeads, jobs).
// kv_window: one workgroup of 256 threads per job. Grid: (jobs, 1, 1).
// Reference: tests/reference/kv_window.ts. Tolerance: "reduce".
import type { HeadShape } from "../lib/ops/backend.ts";
import { headConstants } from "./head_constants.wgsl.ts";
import type { Kernel } from "./kernel.ts";
import { kvKey, type KvLayout, kvRawReading, kvReading } from "./kv_address.wgsl.ts";
import { ROW_SOFTMAX } from "./row_softmax.wgsl.ts";

function common(shape: HeadShape, layout: KvLayout): string {
  return `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
${kvReading(layout, 1)}
struct Params {
  slots_max: u32,
  shard_shift: u32,
  window: u32,
  scale: f32,
}
${headConstants(shape)}
fn raw_page(index: u32) -> u32 { return jobs[index]; }
${kvRawReading(layout)}
fn score_of(job: u32, row: u32, head: u32, slot: u32) -> f32 {
  let key = key_address(jobs[jobs[6u * job + 2u] + slot / PAGE_SLOTS], head / GROUP, slot);
  let query = jobs[6u * job + 5u] + (row * HEADS + head) * HEAD_DIM;
  var dot = 0.0;
  for (var quad = 0u; quad < QUADS; quad += 1u) {
    let q = load_raw_quad(jobs[6u * job + 4u], query + 4u * quad);
    let k = load_quad(key, quad * PAGE_SLOTS);
    dot = fma(q.w, k.w, fma(q.z, k.z, fma(q.y, k.y, fma(q.x, k.x, dot))));
  }
  return params.scale * dot;
}
`;
}

/** Params: slotsMax, shard shift, window, bits of scale. rows [jobs·heads, window·2] f32: maximum, sum. */
export function kvWindowRowsKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `kv_window_rows q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read_write"],
    paramWords: 4,
    get code() {
      return `${common(shape, layout)}
@group(0) @binding(${1 + layout.shards}) var<storage, read_write> rows: array<vec2<f32>>;
@group(0) @binding(${2 + layout.shards}) var<uniform> params: Params;
${ROW_SOFTMAX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = group.x;
  let slots = jobs[6u * group.z];
  let window = min(params.window, slots);
  if (row >= window) { return; }
  var own = NO_SCORES;
  for (var slot = lane; slot <= slots - window + row; slot += 64u) {
    own = take_score(own, score_of(group.z, row, group.y, slot));
  }
  let result = join_scores(lane, own);
  if (lane == 0u) { rows[(group.z * HEADS + group.y) * params.window + row] = result; }
}
`;
    },
  };
}

/** Params: slotsMax, shard shift, window, bits of scale. rows as above, mean [jobs·kvHeads, slotsMax] f32. */
export function kvWindowMeanKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `kv_window_mean q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read", "read_write"],
    paramWords: 4,
    get code() {
      return `${common(shape, layout)}
@group(0) @binding(${1 + layout.shards}) var<storage, read> rows: array<vec2<f32>>;
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> mean: array<f32>;
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.z;
  let slots = jobs[6u * job];
  let window = min(params.window, slots);
  let slot = group.x * 64u + lane;
  if (slot >= slots - window) { return; }
  var sum = 0.0;
  for (var head = group.y * GROUP; head < (group.y + 1u) * GROUP; head += 1u) {
    for (var row = 0u; row < window; row += 1u) {
      let found = rows[(job * HEADS + head) * params.window + row];
      sum += exp(score_of(job, row, head, slot) - found.x) / found.y;
    }
  }
  mean[(job * KV_HEADS + group.y) * params.slots_max + slot] = sum / f32(window * GROUP);
}
`;
    },
  };
}

/** Params: kvHeads, slotsMax, window, kernel, whether heads share their scores. mean, scores [jobs·kvHeads, slotsMax] f32. */
export function kvWindowKernel(): Kernel {
  return {
    key: "kv_window",
    bindings: ["read", "read", "read_write"],
    paramWords: 5,
    code: `
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
struct Params {
  kv_heads: u32,
  slots_max: u32,
  window: u32,
  kernel: u32,
  shared_heads: u32,
}
@group(0) @binding(3) var<uniform> params: Params;
var<workgroup> largest: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.x;
  let slots = jobs[6u * job];
  let window = min(params.window, slots);
  let past = slots - window;
  let half = (params.kernel - 1u) / 2u;
  var own = 0.0;
  for (var slot = lane; slot < past; slot += 256u) {
    var together = 0.0;
    for (var head = 0u; head < params.kv_heads; head += 1u) {
      let row = (job * params.kv_heads + head) * params.slots_max;
      var sum = 0.0;
      let end = min(past, slot + half + 1u);
      for (var other = max(slot, half) - half; other < end; other += 1u) { sum += mean[row + other]; }
      let score = sum / f32(params.kernel);
      together += score;
      if (params.shared_heads == 0u) {
        scores[row + slot] = score;
        own = max(own, score);
      }
    }
    if (params.shared_heads == 1u) {
      let score = together / f32(params.kv_heads);
      own = max(own, score);
      for (var head = 0u; head < params.kv_heads; head += 1u) {
        scores[(job * params.kv_heads + head) * params.slots_max + slot] = score;
      }
    }
  }
  largest[lane] = own;
  workgroupBarrier();
  var all = 0.0;
  for (var i = 0u; i < 256u; i += 1u) { all = max(all, largest[i]); }
  for (var item = lane; item < window * params.kv_heads; item += 256u) {
    scores[(job * params.kv_heads + item / window) * params.slots_max + past + item % window] = all + 1.0;
  }
}
`,
  };
}
