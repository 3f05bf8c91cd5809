// row_softmax: the maximum and the sum of exponentials of a row of scores that a workgroup of 64 threads visits together; part of
// keep_columns, kv_window and kv_expected.
// Reference: tests/reference/softmax.ts

/** Shared memory and the functions take_score and join_scores, see below. */
export const ROW_SOFTMAX = `
var<workgroup> lane_max: array<f32, 64>;
var<workgroup> lane_sum: array<f32, 64>;
// A thread's running (maximum, sum of exp(score − maximum)), begun with NO_SCORES.
const NO_SCORES: vec2<f32> = vec2<f32>(-3.4e38, 0.0);
fn take_score(row: vec2<f32>, score: f32) -> vec2<f32> {
  if (score > row.x) { return vec2<f32>(score, fma(row.y, exp(row.x - score), 1.0)); }
  return vec2<f32>(row.x, row.y + exp(score - row.x));
}
// The same of all threads, in the order of the lanes.
fn join_scores(lane: u32, own: vec2<f32>) -> vec2<f32> {
  lane_max[lane] = own.x;
  workgroupBarrier();
  var highest = lane_max[0];
  for (var i = 1u; i < 64u; i += 1u) { highest = max(highest, lane_max[i]); }
  lane_sum[lane] = own.y * exp(own.x - highest);
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 64u; i += 1u) { sum += lane_sum[i]; }
  return vec2<f32>(highest, sum);
}
`;
