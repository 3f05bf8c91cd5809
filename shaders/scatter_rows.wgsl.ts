// scatter_rows: out[rows[i]] = x[i]
// x: [n, dim]. rows: [n], distinct. out: [·, dim]; its other rows stay. 32-bit values, moved as bits.
// One invocation per four values where dim allows, else per value. Grid: folded into y beyond 65,535 workgroups.
// Reference: tests/reference/scatter_rows.ts. Tolerance: "exact".
import type { Kernel } from "./kernel.ts";

/** Params: n, dim / width. Bindings: x, rows, out. */
export function scatterRows(width: 1 | 4, workgroup: number): Kernel {
  const value = width === 4 ? "vec4<u32>" : "u32";
  return {
    key: `scatter_rows ${value} w${workgroup}`,
    bindings: ["read", "read", "read_write"],
    paramWords: 2,
    code: `
struct Params { rows: u32, chunks: u32 }
@group(0) @binding(0) var<storage, read> x: array<${value}>;
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<${value}>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * ${workgroup}u;
  if (i >= params.rows * params.chunks) { return; }
  out[rows[i / params.chunks] * params.chunks + i % params.chunks] = x[i];
}
`,
  };
}
