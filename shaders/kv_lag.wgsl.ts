// kv_lag: LagKV's scores, see Step.kvLag. Partition p of a row is scored with the least and largest values, channel by
// channel, of partition p + 1; sinks, the last partition and the rest have score 1.
// jobs: see KvJobs. scores [jobs·kvHeads, slotsMax] f32. Sums in f32 in a fixed order.
// One workgroup of 64 threads per (partition, row): ranges by quads, then deviations and ranks, a thread a slot at a time.
// The workgroup of partition 0 also writes what is not scored. Grid: (partitions, rows folded into z).
// Reference: tests/reference/kv_lag.ts. Tolerance: "reduce".
import type { Kernel } from "./kernel.ts";
import type { KvLayout } from "./kv_address.wgsl.ts";
import { KV_ROW, kvScoring } from "./kv_job.wgsl.ts";

/** Slots of a partition at most: three shared arrays of this length. */
export const LAG_MAX = 512;

export function kvLagKernel(layout: KvLayout): Kernel {
  return kvScoring("kv_lag", layout, ["sinks", "lag", "cross_scoring"], () => code(layout));
}

/** Statements that leave a slot's deviation over channels of (x − low) · inverse, found by `load(quad)`, in `into`. */
function deviation(load: string, offset: string, into: string): string {
  return `
    var mean_${into} = 0.0;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
      mean_${into} += dot((${load} - low[${offset} + quad]) * inverse[${offset} + quad], vec4<f32>(1.0));
    }
    mean_${into} /= f32(4u * QUADS);
    var squares_${into} = 0.0;
    for (var quad = 0u; quad < QUADS; quad += 1u) {
      let x = (${load} - low[${offset} + quad]) * inverse[${offset} + quad] - vec4<f32>(mean_${into});
      squares_${into} += dot(x, x);
    }
    ${into}[i] = sqrt(squares_${into} / f32(4u * QUADS - 1u));`;
}

function code(layout: KvLayout): string {
  return `
var<workgroup> low: array<vec4<f32>, ${2 * layout.headDim / 4}>; // keys, then values
var<workgroup> inverse: array<vec4<f32>, ${2 * layout.headDim / 4}>; // of the range, 0 without one
var<workgroup> keys: array<f32, ${LAG_MAX}>;
var<workgroup> values: array<f32, ${LAG_MAX}>;
var<workgroup> means: array<f32, ${LAG_MAX}>;
${KV_ROW}
  let first = row * params.slots_max;
  let lag = params.lag;
  if (slots < params.sinks + 2u * lag) {
    if (group.x > 0u) { return; }
    for (var slot = lane; slot < slots; slot += 64u) {
      var score = 1.0;
      if (slot >= params.sinks) { score = f32(slot - params.sinks) / f32(slots - params.sinks); }
      scores[first + slot] = score;
    }
    return;
  }
  let scored = (slots - params.sinks) / lag - 1u;
  if (group.x >= scored) { return; }
  if (group.x == 0u) {
    for (var slot = lane; slot < slots; slot += 64u) {
      if (slot < params.sinks || slot >= params.sinks + scored * lag) { scores[first + slot] = 1.0; }
    }
  }
  let begin = params.sinks + group.x * lag;

  for (var item = lane; item < 2u * QUADS; item += 64u) {
    let quad = item % QUADS;
    var least = vec4<f32>(3.4e38);
    var most = vec4<f32>(-3.4e38);
    for (var i = 0u; i < lag; i += 1u) {
      let slot = begin + lag + i;
      let page = jobs[table + slot / PAGE_SLOTS];
      var x = vec4<f32>(0.0);
      if (item < QUADS) { x = load_quad(key_address(page, head, slot), quad * PAGE_SLOTS); }
      else { x = load_quad(value_address(page, head, slot), quad); }
      least = min(least, x);
      most = max(most, x);
    }
    low[item] = least;
    inverse[item] = select(vec4<f32>(0.0), 1.0 / max(most - least, vec4<f32>(1e-37)), most > least);
  }
  workgroupBarrier();

  for (var i = lane; i < lag; i += 64u) {
    let slot = begin + i;
    let page = jobs[table + slot / PAGE_SLOTS];
    let key = key_address(page, head, slot);
    let value = value_address(page, head, slot);${
    deviation("load_quad(key, quad * PAGE_SLOTS)", "0u", "keys")
  }${deviation("load_quad(value, quad)", "QUADS", "values")}
  }
  workgroupBarrier();

  var highest = vec2<f32>(0.0);
  for (var i = 0u; i < lag; i += 1u) { highest = max(highest, vec2<f32>(keys[i], values[i])); }
  var sums = vec2<f32>(0.0);
  for (var i = 0u; i < lag; i += 1u) { sums += exp(vec2<f32>(keys[i], values[i]) - highest); }
  for (var i = lane; i < lag; i += 64u) {
    let parts = exp(vec2<f32>(keys[i], values[i]) - highest) / sums;
    means[i] = (parts.x + parts.y) / 2.0;
    if (params.cross_scoring == 1u) { scores[first + begin + i] = means[i]; }
  }
  if (params.cross_scoring == 1u) { return; }
  workgroupBarrier();

  for (var i = lane; i < lag; i += 64u) {
    var below = 0u;
    for (var other = 0u; other < lag; other += 1u) {
      below += select(0u, 1u, means[other] < means[i] || (means[other] == means[i] && other < i));
    }
    scores[first + begin + i] = f32(below) / f32(lag);
  }
}
`;
}
