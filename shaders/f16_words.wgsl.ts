// f16_words: out[i] = pack2x16float(unpack2x16float(x[i])), two halves a word; the start-up check of packed f16.
// x, out: [n] u32. One invocation per word. Grid: (ceil(n / workgroup), 1, 1).
// Reference: the input itself; lib/gpu/self_test.ts. Tolerance: "exact".
import type { Kernel } from "./kernel.ts";

/** Params: n. Bindings: x, out. */
export function f16Words(workgroup: number): Kernel {
  return {
    key: `f16_words w${workgroup}`,
    bindings: ["read", "read_write"],
    paramWords: 1,
    code: `
struct Params { words: u32 }
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.words) { return; }
  out[id.x] = pack2x16float(unpack2x16float(x[id.x]));
}
`,
  };
}
