// layer_norm: y[t, d] = (x[t, d] − mean_d(x)) / sqrt(var_d(x) + eps) · weight[d] + bias[d]
// x, y: [T, dim] f32. weight, bias: [dim] f32. Biased variance, taken about the mean in a second pass, which keeps its
// digits where the mean is large. Sums in f32, one fixed tree a row.
// One workgroup per row; invocations stride over dim. Grid: (T, 1, 1), folded into y beyond 65,535.
// Reference: tests/reference/layer_norm.ts. Tolerance: "reduce".
import type { Kernel } from "./kernel.ts";
import { partialArray, treeSum } from "./row_sum.wgsl.ts";

/** Params: T, dim, eps (its bits). Bindings: x, weight, bias, out. */
export function layerNorm(workgroup: number): Kernel {
  return {
    key: `layer_norm w${workgroup}`,
    bindings: ["read", "read", "read", "read_write"],
    paramWords: 3,
    code: `
struct Params { rows: u32, dim: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

${partialArray(workgroup)}

@compute @workgroup_size(${workgroup})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let base = row * params.dim;
  var sum = 0.0;
  for (var d = lane; d < params.dim; d += ${workgroup}u) {
    sum += x[base + d];
  }
${treeSum(workgroup, "sum")}
  let mean = partial[0] / f32(params.dim);
  workgroupBarrier();
  var squares = 0.0;
  for (var d = lane; d < params.dim; d += ${workgroup}u) {
    let v = x[base + d] - mean;
    squares = fma(v, v, squares);
  }
${treeSum(workgroup, "squares")}
  let scale = 1.0 / sqrt(partial[0] / f32(params.dim) + params.eps);
  for (var d = lane; d < params.dim; d += ${workgroup}u) {
    out[base + d] = fma((x[base + d] - mean) * scale, weight[d], bias[d]);
  }
}
`,
  };
}
