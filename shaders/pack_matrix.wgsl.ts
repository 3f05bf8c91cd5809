// pack_matrix: target[chunk_at(first_row + r, c)] = source[r, c], whole chunks of four values, bits untouched.
// source: rows as stored, [rows, chunks]. target: a matrix slice in matrix_layout.
// One invocation per chunk. Grid: folded into y beyond 65,535 workgroups.
// Reference: tests/reference/matmul.ts. Tolerance: "exact".
import type { MatrixDtype } from "../lib/ops/tensor.ts";
import type { Kernel } from "./kernel.ts";
import { CHUNK_AT } from "./matrix_layout.wgsl.ts";

export function packMatrix(dtype: MatrixDtype, workgroup: number): Kernel {
  const chunk = dtype === "f32" ? "vec4<u32>" : "vec2<u32>";
  return {
    key: `pack_matrix ${chunk} w${workgroup}`,
    bindings: ["read", "read_write"],
    paramWords: 3,
    code: `
struct Params { first_row: u32, rows: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> source: array<${chunk}>;
@group(0) @binding(1) var<storage, read_write> stored: array<${chunk}>;
@group(0) @binding(2) var<uniform> params: Params;

${CHUNK_AT}

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * ${workgroup}u;
  if (i >= params.rows * params.chunks) { return; }
  stored[chunk_at(params.first_row + i / params.chunks, i % params.chunks, params.chunks)] = source[i];
}
`,
  };
}
