// gated: out[t, i] = activate(x[t, i]) · x[t, I + i]
// x: [T, 2·I] f32. out: [T, I] f32.
// One invocation per value of out. Grid: folded into y beyond 65,535 workgroups.
// Reference: tests/reference/gated.ts. Tolerance: "reduce".
import type { Activation } from "../lib/ops/backend.ts";
import { activationFunction } from "./activation.wgsl.ts";
import type { Kernel } from "./kernel.ts";

/** Params: T, I. Bindings: x, out. */
export function gated(activation: Activation, workgroup: number): Kernel {
  return {
    key: `gated ${activation} w${workgroup}`,
    bindings: ["read", "read_write"],
    paramWords: 2,
    code: `
struct Params { rows: u32, columns: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

${activationFunction(activation)}

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * ${workgroup}u;
  if (i >= params.rows * params.columns) { return; }
  let gate = i + (i / params.columns) * params.columns;
  out[i] = activate(x[gate]) * x[gate + params.columns];
}
`,
  };
}
