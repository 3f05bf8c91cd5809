// keep_queries: copies the rotated queries of those tokens that are among the last `window` of their prompt, as raw words of
// the sequence's keep pages: [layer][window][heads][headDim]. qkv: see rope_write_kv. map: see KvMap. keeps: see KvKeeps.
// One workgroup of 64 threads per (token of a sequence, record); threads stride over quads. Grid: (tokens, records, 1).
// Reference: tests/reference/keep_queries.ts. Tolerance: "exact".
import type { HeadShape } from "../lib/ops/backend.ts";
import type { Kernel } from "./kernel.ts";
import { KEPT_PARAM_WORDS, keptRecords } from "./kept_records.wgsl.ts";
import { kvKey, type KvLayout } from "./kv_address.wgsl.ts";

/** Params: see kept_records. */
export function keepQueriesKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `keep_queries q${shape.heads} ${kvKey(layout)}`,
    bindings: ["read", "read", "read", ...Array<"read_write">(layout.shards).fill("read_write")],
    paramWords: KEPT_PARAM_WORDS,
    get code() {
      return `${keptRecords(shape, layout, 0)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let kept = kept_record(group.y);
  let token = group.x;
  if (token >= kept.tokens) { return; }
  let position = kept.slot_base + token;
  let begin = kept.prompt_tokens - kept.setting;
  if (position < begin) { return; }
  let base = (params.layer * kept.setting + position - begin) * HEADS * HEAD_DIM;
  for (var quad = lane; quad < HEADS * QUADS; quad += 64u) {
    store_raw_quad(kept.table, base + 4u * quad, qkv[(kept.first + token) * ROW_QUADS + quad]);
  }
}
`;
    },
  };
}
