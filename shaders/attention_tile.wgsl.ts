// attention_tile: the part that paged_attention and segment_attention share: one workgroup of 64 threads computes the
// attention of a tile: `tokens` neighbouring tokens of one sequence × the query heads that share one KV head (at most
// HEADS_MAX of them at once). A row is one (token, query head).
// Slots are visited in splits of 64. Per split and row: scores, their maximum m, p = exp(score − m) with exact zeros
// for slots that the row does not see, l = Σ p, o = Σ p·V; then (M, L, O) takes in (m, l, o) as
//   M' = max(M, m), L' = L·exp(M − M') + l·exp(m − M'), O' = O·exp(M − M') + o·exp(m − M').
// A split that a row sees nothing of leaves its (M, L, O) untouched. Every score is one fma chain over ascending
// dimensions, l is 16 chains of 4 slots and then a chain of the 16, o is one fma chain over ascending slots: nothing
// depends on the tile, so a row has the same bits alone, among others, and for any number of tokens a tile.
// Grid: tiles folded into y; z = KV heads × head chunks.
// Reference: tests/reference/attention.ts. Tolerance: "reduce".
import { ATTENTION_SPLIT_SLOTS } from "../lib/core/limits.ts";
import type { HeadShape } from "../lib/ops/backend.ts";

/** Query heads of one workgroup at most: 8 rows of registers even for one token. */
const HEADS_MAX = 8;
/** Rows of a tile at most: 4 × 4 scores a thread. */
const ROWS_MAX = 16;

export interface AttentionTile {
  /** Tokens of a tile at most: 1, or what {@link tileTokensMax} allows. */
  readonly tokens: number;
}

/** How the query heads of one KV head are cut: `chunks` workgroups of at most `heads` each. */
export function headChunks(shape: HeadShape): { readonly chunks: number; readonly heads: number } {
  const group = shape.heads / shape.kvHeads;
  const chunks = Math.ceil(group / HEADS_MAX);
  return { chunks, heads: Math.ceil(group / chunks) };
}

/** The most tokens a tile may have; at least 2. */
export function tileTokensMax(shape: HeadShape): number {
  return Math.floor(ROWS_MAX / headChunks(shape).heads);
}

/**
 * WGSL of the entry point. The text around it declares qkv and out (vec4<f32>), tiles ([sequence, first token, tokens]
 * a tile), params.tiles, params.scale, QUADS, KV_HEADS, Address and the functions
 *   slots_seen(sequence, token)        slots that a token sees: 0 … this − 1
 *   find_key, find_value(sequence, head, slot) and load_key, load_value(address, quad).
 * `mask` says whether a later token of a tile sees one slot more than the one before it.
 */
export function attentionTile(shape: HeadShape, tile: AttentionTile, mask: "causal" | "all"): string {
  const quads = shape.headDim / 4;
  const { chunks, heads } = headChunks(shape);
  const rows = tile.tokens * heads;
  // Rows come in bands of 4, one vector each; a thread scores one band at `bands` slots and so reuses its loads.
  const bands = rows <= 4 ? 1 : rows <= 8 ? 2 : 4;
  const lanes = bands === 1 ? rows : 4;
  const slotThreads = ATTENTION_SPLIT_SLOTS / bands;
  const rounds = Math.ceil(bands * quads / 64);

  const each = (count: number, line: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => line(i)).join("\n");
  const vector = (scalar: string) => lanes === 1 ? scalar : `vec${lanes}<${scalar}>`;
  const lane = (name: string, i: number) => lanes === 1 ? name : `${name}.${"xyzw"[i]}`;
  const gather = (scalar: string, part: (i: number) => string) =>
    `${vector(scalar)}(${Array.from({ length: lanes }, (_, i) => part(i)).join(", ")})`;
  const chain = (count: number, term: (i: number) => string, join: (sum: string, term: string) => string) =>
    Array.from({ length: count }, (_, i) => term(i)).reduce(join);

  return `
const HEADS: u32 = ${shape.heads}u;
const GROUP: u32 = ${shape.heads / shape.kvHeads}u; // query heads that read one KV head
const CHUNK: u32 = ${heads}u; // of them, those of this workgroup
const ROW_QUADS: u32 = ${(shape.heads + 2 * shape.kvHeads) * quads}u;
const BANDS: u32 = ${bands}u;
const SPLIT: u32 = ${ATTENTION_SPLIT_SLOTS}u;
const MASKED: f32 = -3.4e38;
alias Band = ${vector("f32")};
alias Counts = ${vector("u32")};

var<workgroup> scores: array<Band, ${ATTENTION_SPLIT_SLOTS * bands}>; // [slot][band], then exp(score − m)
var<workgroup> value_at: array<Address, SPLIT>;
var<workgroup> parts: array<Band, ${16 * bands}>; // [band][sixteenth of the split]
var<workgroup> split_max: array<Band, BANDS>;
var<workgroup> keep: array<Band, BANDS>; // factor of what was summed before
var<workgroup> take: array<Band, BANDS>; // factor of this split
var<workgroup> total: array<Band, BANDS>;

fn token_of(row: u32, tokens: u32) -> u32 { return min(row / CHUNK, tokens - 1u); }
// Slots seen by each row of a band; rows past the tile's end repeat its last token.
fn seen_by(band: u32, first_seen: u32, tokens: u32) -> Counts {
  return ${
    mask === "all"
      ? "Counts(first_seen)"
      : gather("u32", (i) => `first_seen + token_of(band * 4u + ${i}u, tokens)`)
  };
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = group.x + group.y * groups.x;
  if (tile >= params.tiles) { return; }
  let sequence = tiles[3u * tile];
  let first_token = tiles[3u * tile + 1u];
  let tokens = tiles[3u * tile + 2u];
  let kv_head = group.z / ${chunks}u;
  let first_head = (group.z % ${chunks}u) * CHUNK; // within the KV head's group
  let chunk_heads = min(CHUNK, GROUP - first_head);
  let first_seen = slots_seen(sequence, first_token);
  let tile_seen = first_seen${mask === "all" ? "" : " + tokens - 1u"};

  // Scoring: this thread's band, and its slots score_slot + j · ${slotThreads}.
  let score_band = lane / ${slotThreads}u;
  let score_slot = lane % ${slotThreads}u;
  let score_seen = seen_by(score_band, first_seen, tokens);
${
    each(lanes, (i) =>
      `  let row${i} = score_band * 4u + ${i}u;
  let query${i} = (first_token + token_of(row${i}, tokens)) * ROW_QUADS
    + (kv_head * GROUP + first_head + min(row${i} % CHUNK, chunk_heads - 1u)) * QUADS;`)
  }
  // Statistics: this thread's band and sixteenth.
  let part_band = lane / 16u;
  let part_slot = (lane % 16u) * 4u;
  let part_seen = seen_by(part_band, first_seen, tokens);
  // Running maximum and sum, held by thread \`band\`.
  let lane_seen = seen_by(lane, first_seen, tokens);
  var running_max = Band(MASKED);
  var running_sum = Band(0.0);
  // Output: this thread's cells (band, quad), one a round.
${
    each(rounds, (r) =>
      `  let cell${r} = ${64 * r}u + lane;
  let cell_band${r} = cell${r} / QUADS;
  let cell_quad${r} = cell${r} % QUADS;
  let cell_seen${r} = seen_by(cell_band${r}, first_seen, tokens);
${each(lanes, (i) => `  var sum${r}_${i} = vec4<f32>(0.0);`)}`)
  }

  for (var start = 0u; start < tile_seen; start += SPLIT) {
    // Slots past the tile's last one read that one instead and are masked.
${
    each(bands, (j) =>
      `    let slot${j} = start + score_slot + ${j * slotThreads}u;
    let key_at${j} = find_key(sequence, kv_head, min(slot${j}, tile_seen - 1u));
${each(lanes, (i) => `    var dot${i}_${j} = 0.0;`)}`)
  }
    for (var quad = 0u; quad < QUADS; quad += 1u) {
${each(bands, (j) => `      let key${j} = load_key(key_at${j}, quad);`)}
${
    each(lanes, (i) =>
      `      let q${i} = qkv[query${i} + quad];
${
        each(bands, (j) =>
          [..."xyzw"].map((c) => `      dot${i}_${j} = fma(q${i}.${c}, key${j}.${c}, dot${i}_${j});`).join(
            "\n",
          ))
      }`)
  }
    }
${
    each(bands, (j) =>
      `    scores[(slot${j} - start) * BANDS + score_band] = select(
      Band(MASKED),
      params.scale * ${gather("f32", (i) => `dot${i}_${j}`)},
      Counts(slot${j}) < score_seen,
    );`)
  }
    value_at[lane] = find_value(sequence, kv_head, min(start + lane, tile_seen - 1u));
    workgroupBarrier();

${each(4, (s) => `    var p${s} = Band(0.0);`)}
    if (part_band < BANDS) {
${each(4, (s) => `      p${s} = scores[(part_slot + ${s}u) * BANDS + part_band];`)}
      parts[lane] = max(max(p0, p1), max(p2, p3));
    }
    workgroupBarrier();
    if (lane < BANDS) {
      split_max[lane] = ${
    chain(16, (i) => `parts[lane * 16u + ${i}u]`, (sum, term) => `max(${sum}, ${term})`)
  };
    }
    workgroupBarrier();
    if (part_band < BANDS) {
      let highest = split_max[part_band];
${
    each(4, (s) =>
      `      p${s} = select(Band(0.0), exp(p${s} - highest), Counts(start + part_slot + ${s}u) < part_seen);
      scores[(part_slot + ${s}u) * BANDS + part_band] = p${s};`)
  }
      parts[lane] = ((p0 + p1) + p2) + p3;
    }
    workgroupBarrier();
    if (lane < BANDS) {
      let split_sum = ${chain(16, (i) => `parts[lane * 16u + ${i}u]`, (sum, term) => `(${sum} + ${term})`)};
      let highest = max(running_max, split_max[lane]);
      let keep_factor = exp(running_max - highest);
      let take_factor = exp(split_max[lane] - highest);
      keep[lane] = keep_factor;
      take[lane] = take_factor;
      let sees = Counts(start) < lane_seen;
      running_sum = select(running_sum, fma(running_sum, keep_factor, split_sum * take_factor), sees);
      running_max = select(running_max, highest, sees);
    }
    workgroupBarrier();
    // Whole fours of slots: those past the last one have p = 0.
    let slots = min(SPLIT, tile_seen - start);
${
    each(rounds, (r) =>
      `    if (cell_band${r} < BANDS) {
${each(lanes, (i) => `      var part${i} = vec4<f32>(0.0);`)}
      for (var slot = 0u; slot < slots; slot += 4u) {
${
        each(4, (s) =>
          `        let value${s} = load_value(value_at[slot + ${s}u], cell_quad${r});
        let weight${s} = scores[(slot + ${s}u) * BANDS + cell_band${r}];
${each(lanes, (i) => `        part${i} = fma(vec4<f32>(${lane(`weight${s}`, i)}), value${s}, part${i});`)}`)
      }
      }
      let keep_band = keep[cell_band${r}];
      let take_band = take[cell_band${r}];
${
        each(lanes, (i) =>
          `      if (start < ${lane(`cell_seen${r}`, i)}) {
        sum${r}_${i} = fma(sum${r}_${i}, vec4<f32>(${lane("keep_band", i)}), part${i} * ${
            lane("take_band", i)
          });
      }`)
      }
    }`)
  }
    workgroupBarrier();
  }

  if (lane < BANDS) { total[lane] = running_sum; }
  workgroupBarrier();
${
    each(rounds, (r) =>
      `  if (cell_band${r} < BANDS) {
    let divisor = total[cell_band${r}];
${
        each(lanes, (i) =>
          `    let out_row${i} = cell_band${r} * 4u + ${i}u;
    if (out_row${i} / CHUNK < tokens && out_row${i} % CHUNK < chunk_heads) {
      let head = kv_head * GROUP + first_head + out_row${i} % CHUNK;
      out[((first_token + out_row${i} / CHUNK) * HEADS + head) * QUADS + cell_quad${r}] = sum${r}_${i} / ${
            lane("divisor", i)
          };
    }`)
      }
  }`)
  }
}
`;
}
