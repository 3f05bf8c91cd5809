// keep_moments: mean of the queries and sum of their products around it, joined with what earlier steps kept (Chan, Golub,
// LeVeque 1979), as raw words of the sequence's keep pages: [layer][heads][headDim + headDim²]. Tokens at positions below the
// record's setting are left out. qkv: as before rope_write_kv. map: see KvMap. keeps: see KvKeeps.
// One workgroup of 256 threads per (head, record): means, a thread a channel; then threads stride over pairs of channels; sums in
// f32 over ascending tokens. Grid: (heads, records, 1).
// Reference: tests/reference/keep_moments.ts. Tolerance: "reduce".
import type { HeadShape } from "../lib/ops/backend.ts";
import type { Kernel } from "./kernel.ts";
import { KEPT_PARAM_WORDS, keptRecords } from "./kept_records.wgsl.ts";
import { kvKey, type KvLayout } from "./kv_address.wgsl.ts";

/** Params: see kept_records. */
export function keepMomentsKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `keep_moments q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", "read", "read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: KEPT_PARAM_WORDS,
    get code() {
      return `${keptRecords(shape, layout, 0)}
var<workgroup> mean: array<f32, HEAD_DIM>;
var<workgroup> shift: array<f32, HEAD_DIM>; // from the mean before to that of this step

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let kept = kept_record(group.y);
  let head = group.x;
  let before = max(kept.slot_base, kept.setting) - kept.setting;
  let first = max(kept.slot_base, kept.setting) - kept.slot_base;
  if (first >= kept.tokens) { return; }
  let added = kept.tokens - first;
  let at = (params.layer * HEADS + head) * (HEAD_DIM + HEAD_DIM * HEAD_DIM);
  let begin = (kept.first + first) * ROW_QUADS + head * QUADS;
  for (var d = lane; d < HEAD_DIM; d += 256u) {
    var sum = 0.0;
    for (var t = 0u; t < added; t += 1u) { sum += qkv[begin + t * ROW_QUADS + d / 4u][d % 4u]; }
    mean[d] = sum / f32(added);
    shift[d] = mean[d];
    if (before > 0u) { shift[d] = mean[d] - load_raw(kept.table, at + d); }
  }
  workgroupBarrier();
  let joint = f32(before) * f32(added) / f32(before + added);
  for (var pair = lane; pair < HEAD_DIM * HEAD_DIM; pair += 256u) {
    let i = pair / HEAD_DIM;
    let j = pair % HEAD_DIM;
    var sum = 0.0;
    for (var t = 0u; t < added; t += 1u) {
      let row = begin + t * ROW_QUADS;
      sum = fma(qkv[row + i / 4u][i % 4u] - mean[i], qkv[row + j / 4u][j % 4u] - mean[j], sum);
    }
    let word = at + HEAD_DIM + pair;
    if (before > 0u) { sum += load_raw(kept.table, word) + shift[i] * shift[j] * joint; }
    store_raw(kept.table, word, sum);
  }
  for (var d = lane; d < HEAD_DIM; d += 256u) {
    var value = mean[d];
    if (before > 0u) { value = load_raw(kept.table, at + d) + shift[d] * f32(added) / f32(before + added); }
    store_raw(kept.table, at + d, value);
  }
}
`;
    },
  };
}
