// embed: out[t] = tokens[t] < 2^31 ? table[tokens[t]] : features[tokens[t] − 2^31]
// table: one slice of a matrix in matrix_layout, rows first_row … first_row + rows − 1. features: [·, dim] f32.
// tokens: [T]. out: [T, dim] f32. A dispatch writes the tokens of its slice; features count as part of the first.
// One invocation per four values. Grid: folded into y beyond 65,535 workgroups.
// Reference: tests/reference/embed.ts. Tolerance: "exact".
import { FEATURE_ROW } from "../lib/ops/backend.ts";
import type { MatrixDtype } from "../lib/ops/tensor.ts";
import type { Kernel } from "./kernel.ts";
import { CHUNK_AT, chunkType, widenFunction } from "./matrix_layout.wgsl.ts";

/** Params: T, dim/4, first row of the slice, rows of the slice. Bindings: table, tokens, features if any, out. */
export function embed(dtype: MatrixDtype, features: boolean, workgroup: number): Kernel {
  const out = features ? 3 : 2;
  return {
    key: `embed ${dtype}${features ? " features" : ""} w${workgroup}`,
    bindings: [...Array<"read">(out).fill("read"), "read_write"],
    paramWords: 4,
    code: `
struct Params { tokens: u32, chunks: u32, first_row: u32, rows: u32 }
@group(0) @binding(0) var<storage, read> table: array<${chunkType(dtype)}>;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
${features ? "@group(0) @binding(2) var<storage, read> features: array<vec4<f32>>;" : ""}
@group(0) @binding(${out}) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(${out + 1}) var<uniform> params: Params;

${widenFunction(dtype)}
${CHUNK_AT}

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * ${workgroup}u;
  if (i >= params.tokens * params.chunks) { return; }
  let chunk = i % params.chunks;
  let token = tokens[i / params.chunks];
  ${
      features
        ? `if (token >= ${FEATURE_ROW}u) {
    if (params.first_row == 0u) { out[i] = features[(token - ${FEATURE_ROW}u) * params.chunks + chunk]; }
    return;
  }`
        : ""
    }
  if (token < params.first_row || token - params.first_row >= params.rows) { return; }
  out[i] = widen(table[chunk_at(token - params.first_row, chunk, params.chunks)]);
}
`,
  };
}
