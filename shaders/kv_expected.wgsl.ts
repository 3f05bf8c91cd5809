// kv_expected: expected attention, see Step.kvExpected. Three kernels: kv_turn_moments turns each query head's mean and
// covariance by the average rotation R (mean → R·mean, covariance → R·covariance·Rᵀ); kv_expected_weights takes the softmax of the
// logits over the slots behind the sinks; kv_expected averages over the query heads of a KV head and multiplies by ‖V‖.
// jobs: see KvJobs, with keep tables: [heads][headDim + headDim²] as raw words. Sums in f32 in a fixed order.
// kv_turn_moments: one workgroup of 64 threads per (head, job), a thread a block of 2 × 2. Grid: (heads, jobs, 1).
// kv_expected_weights: one workgroup of 64 threads per (head, job). Grid: (heads, jobs, 1).
// kv_expected: one thread per (slot, KV head, job). Grid: (slots / 64, kvHeads, jobs).
// Reference: tests/reference/kv_expected.ts. Tolerance: "reduce".
import type { HeadShape } from "../lib/ops/backend.ts";
import { SCORE_MAX } from "../lib/ops/backend.ts";
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
  sinks: u32,
  scale: f32,
  covariance: u32,
  value_norm: u32,
  epsilon: f32,
}
${headConstants(shape)}
const HALF: u32 = ${shape.headDim / 2}u;
const MOMENTS: u32 = HEAD_DIM + HEAD_DIM * HEAD_DIM;
`;
}

/** Params of all three: slotsMax, shard shift, sinks, bits of scale, covariance, value norm (0 or 1), bits of epsilon. */
const PARAM_WORDS = 7;

/** rotary [jobs, headDim] f32, turned [jobs·heads, headDim + headDim²] f32. */
export function kvTurnMomentsKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `kv_turn_moments q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read", "read_write"],
    paramWords: PARAM_WORDS,
    get code() {
      return `${common(shape, layout)}
@group(0) @binding(${1 + layout.shards}) var<storage, read> rotary: array<f32>;
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> turned: array<f32>;
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
fn raw_page(index: u32) -> u32 { return jobs[index]; }
${kvRawReading(layout)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.y;
  let slots = jobs[6u * job];
  if (slots <= params.sinks) { return; }
  let count = f32(slots - params.sinks);
  let table = jobs[6u * job + 4u];
  let kept = jobs[6u * job + 5u] + group.x * MOMENTS;
  let out = (job * HEADS + group.x) * MOMENTS;
  let angles = job * HEAD_DIM;
  for (var i = lane; i < HALF; i += 64u) {
    let a = load_raw(table, kept + i);
    let b = load_raw(table, kept + HALF + i);
    turned[out + i] = a * rotary[angles + i] - b * rotary[angles + HALF + i];
    turned[out + HALF + i] = b * rotary[angles + i] + a * rotary[angles + HALF + i];
  }
  for (var block = lane; block < HALF * HALF; block += 64u) {
    let i = block / HALF;
    let j = block % HALF;
    let block_at = kept + HEAD_DIM + i * HEAD_DIM + j;
    let lower = HALF * HEAD_DIM;
    let ci = rotary[angles + i];
    let si = rotary[angles + HALF + i];
    let cj = rotary[angles + j];
    let sj = rotary[angles + HALF + j];
    // Columns j and j + half of rows i and i + half.
    let top = vec2<f32>(load_raw(table, block_at), load_raw(table, block_at + HALF)) / count;
    let low = vec2<f32>(load_raw(table, block_at + lower), load_raw(table, block_at + lower + HALF)) / count;
    let new_top = top * ci - low * si;
    let new_low = low * ci + top * si;
    let to = out + HEAD_DIM + i * HEAD_DIM + j;
    turned[to] = new_top.x * cj - new_top.y * sj;
    turned[to + HALF] = new_top.y * cj + new_top.x * sj;
    turned[to + lower] = new_low.x * cj - new_low.y * sj;
    turned[to + lower + HALF] = new_low.y * cj + new_low.x * sj;
  }
}
`;
    },
  };
}

/** turned as above; weights [jobs·heads, slotsMax] f32. */
export function kvExpectedWeightsKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `kv_expected_weights q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read", "read_write"],
    paramWords: PARAM_WORDS,
    get code() {
      return `${common(shape, layout)}
@group(0) @binding(${1 + layout.shards}) var<storage, read> turned: array<vec4<f32>>;
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> weights: array<f32>;
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;
${ROW_SOFTMAX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.y;
  let head = group.x;
  let slots = jobs[6u * job];
  let table = jobs[6u * job + 2u];
  let row = (job * HEADS + head) * params.slots_max;
  let moments = (job * HEADS + head) * (MOMENTS / 4u);
  if (slots <= params.sinks) { return; }
  var own = NO_SCORES;
  for (var slot = params.sinks + lane; slot < slots; slot += 64u) {
    let key = key_address(jobs[table + slot / PAGE_SLOTS], head / GROUP, slot);
    var mean = 0.0;
    var square = 0.0;
    for (var i = 0u; i < QUADS; i += 1u) {
      let k = load_quad(key, i * PAGE_SLOTS);
      mean += dot(k, turned[moments + i]);
      if (params.covariance == 0u) { continue; }
      var products = vec4<f32>(0.0); // of rows 4i … 4i + 3
      let rows = moments + QUADS + 4u * i * QUADS;
      for (var j = 0u; j < QUADS; j += 1u) {
        let other = load_quad(key, j * PAGE_SLOTS);
        products += vec4<f32>(
          dot(turned[rows + j], other),
          dot(turned[rows + QUADS + j], other),
          dot(turned[rows + 2u * QUADS + j], other),
          dot(turned[rows + 3u * QUADS + j], other),
        );
      }
      square += dot(k, products);
    }
    let logit = params.scale * mean + 0.5 * params.scale * params.scale * square;
    weights[row + slot] = logit;
    own = take_score(own, logit);
  }
  let all = join_scores(lane, own);
  for (var slot = params.sinks + lane; slot < slots; slot += 64u) {
    weights[row + slot] = exp(weights[row + slot] - all.x) / all.y;
  }
}
`;
    },
  };
}

/** weights as above; scores [jobs·kvHeads, slotsMax] f32. */
export function kvExpectedKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `kv_expected q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", ...Array<"read">(layout.shards).fill("read"), "read", "read_write"],
    paramWords: PARAM_WORDS,
    get code() {
      return `${common(shape, layout)}
@group(0) @binding(${1 + layout.shards}) var<storage, read> weights: array<f32>;
@group(0) @binding(${2 + layout.shards}) var<storage, read_write> scores: array<f32>;
@group(0) @binding(${3 + layout.shards}) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let job = group.z;
  let kv_head = group.y;
  let slot = group.x * 64u + lane;
  if (slot >= jobs[6u * job]) { return; }
  let out = (job * KV_HEADS + kv_head) * params.slots_max + slot;
  if (slot < params.sinks) {
    scores[out] = ${SCORE_MAX};
    return;
  }
  var sum = 0.0;
  for (var g = 0u; g < GROUP; g += 1u) {
    sum += weights[(job * HEADS + kv_head * GROUP + g) * params.slots_max + slot];
  }
  var score = sum / f32(GROUP);
  if (params.value_norm == 1u) {
    let value = value_address(jobs[jobs[6u * job + 2u] + slot / PAGE_SLOTS], kv_head, slot);
    var squares = 0.0;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
      let v = load_quad(value, quad);
      squares += dot(v, v);
    }
    score = (score + params.epsilon) * sqrt(squares);
  }
  scores[out] = score;
}
`;
    },
  };
}
