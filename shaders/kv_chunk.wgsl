// kv_chunk: out = mean over a chunk's slots of the sum over heads of scores, the same of every head and slot of the chunk; the last
// chunk has the largest score there is. jobs: see KvJobs. scores, out [jobs·kv_heads, slots_max] f32. Sums in f32: heads, then slots.
// One thread per (chunk, job). Grid: (chunks / 64, jobs, 1).
// Reference: tests/reference/kv_chunk.ts. Tolerance: "reduce".
@group(0) @binding(0) var<storage, read> jobs: array<u32>;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
struct Params {
  kv_heads: u32,
  slots_max: u32,
  chunk: u32,
  score_max: f32,
}
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let slots = jobs[6u * group.y];
  let first = (group.x * 64u + lane) * params.chunk;
  if (first >= slots) { return; }
  let end = min(first + params.chunk, slots);
  let row = group.y * params.kv_heads * params.slots_max;
  var sum = 0.0;
  for (var head = 0u; head < params.kv_heads; head += 1u) {
    for (var slot = first; slot < end; slot += 1u) { sum += scores[row + head * params.slots_max + slot]; }
  }
  let score = select(sum / f32(end - first), params.score_max, end == slots);
  for (var head = 0u; head < params.kv_heads; head += 1u) {
    for (var slot = first; slot < end; slot += 1u) { out[row + head * params.slots_max + slot] = score; }
  }
}
