// keep_columns: adds, to the column sums that a sequence keeps, the attention weights of the step's tokens, summed over the query
// heads of a KV head, as raw words of the keep pages: [layer][kvHeads][prompt tokens]. Two kernels: row_weights finds each row's
// maximum and sum of exponentials, keep_columns takes the weights again, column by column, in the order of tokens and heads.
// qkv: as after rope_write_kv. map: see KvMap. keeps: see KvKeeps. Sums in f32.
// row_weights: one workgroup of 64 threads per (token, query head, record). Grid: (tokens, heads, records).
// keep_columns: one thread per (slot, KV head, record). Grid: (slots / 64, kvHeads, records).
// Reference: tests/reference/keep_columns.ts. Tolerance: "reduce".
import type { HeadShape } from "../lib/ops/backend.ts";
import type { Kernel } from "./kernel.ts";
import { KEPT_PARAM_WORDS, keptRecords } from "./kept_records.wgsl.ts";
import { kvKey, type KvLayout } from "./kv_address.wgsl.ts";
import { ROW_SOFTMAX } from "./row_softmax.wgsl.ts";

function score(): string {
  return `
fn score_of(query: u32, page_table: u32, kv_head: u32, slot: u32) -> f32 {
  let key = key_address(map[page_table + slot / PAGE_SLOTS], kv_head, slot);
  var dot = 0.0;
  for (var quad = 0u; quad < QUADS; quad += 1u) {
    let q = qkv[query + quad];
    let k = load_quad(key, quad * PAGE_SLOTS);
    dot = fma(q.w, k.w, fma(q.z, k.z, fma(q.y, k.y, fma(q.x, k.x, dot))));
  }
  return params.scale * dot;
}
`;
}

/** Params: see kept_records. rows [tokens of the step · heads, 2] f32: maximum, sum. */
export function rowWeightsKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `row_weights q${shape.heads} ${kvKey(layout)}`,
    bindings: bindings(layout, "read_write"),
    paramWords: KEPT_PARAM_WORDS,
    get code() {
      return `${keptRecords(shape, layout, 1)}
@group(0) @binding(${3 + layout.shards}) var<storage, read_write> rows: array<vec2<f32>>;
${score()}${ROW_SOFTMAX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let kept = kept_record(group.z);
  if (group.x >= kept.tokens) { return; }
  let token = kept.first + group.x;
  let head = group.y;
  let query = token * ROW_QUADS + head * QUADS;
  var own = NO_SCORES;
  for (var slot = lane; slot <= kept.slot_base + group.x; slot += 64u) {
    own = take_score(own, score_of(query, kept.page_table, head / GROUP, slot));
  }
  let row = join_scores(lane, own);
  if (lane == 0u) { rows[token * HEADS + head] = row; }
}
`;
    },
  };
}

/** Params: see kept_records. rows: as row_weights wrote them. */
export function keepColumnsKernel(shape: HeadShape, layout: KvLayout): Kernel {
  return {
    key: `keep_columns q${shape.heads} ${kvKey(layout)}`,
    bindings: bindings(layout, "read"),
    paramWords: KEPT_PARAM_WORDS,
    get code() {
      return `${keptRecords(shape, layout, 1)}
@group(0) @binding(${3 + layout.shards}) var<storage, read> rows: array<vec2<f32>>;
${score()}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let kept = kept_record(group.z);
  let kv_head = group.y;
  let slot = group.x * 64u + lane;
  if (slot >= kept.slot_base + kept.tokens) { return; }
  var sum = 0.0;
  // The first token of the step that sees the slot.
  for (var t = max(slot, kept.slot_base) - kept.slot_base; t < kept.tokens; t += 1u) {
    for (var h = kv_head * GROUP; h < (kv_head + 1u) * GROUP; h += 1u) {
      let token = kept.first + t;
      let row = rows[token * HEADS + h];
      let score = score_of(token * ROW_QUADS + h * QUADS, kept.page_table, kv_head, slot);
      sum += exp(score - row.x) / row.y;
    }
  }
  let word = (params.layer * KV_HEADS + kv_head) * kept.prompt_tokens + slot;
  if (slot < kept.slot_base) { sum += load_raw(kept.table, word); }
  store_raw(kept.table, word, sum);
}
`;
    },
  };
}

function bindings(layout: KvLayout, rows: "read" | "read_write"): Kernel["bindings"] {
  return ["read", "read", "read", ...Array<"read_write">(layout.shards).fill("read_write"), rows];
}
