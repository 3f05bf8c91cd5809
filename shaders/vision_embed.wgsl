// vision_embed: out[i·N + n] = positions[n] + (n < class_rows ? class_token : patches[i·P + n − class_rows]).
// patches [images·P, dim] f32. class_token [1, dim] f32, bound but not read when class_rows is 0. positions [N, dim].
// N = P + class_rows; class_rows is 0 or 1. out [images·N, dim] f32. One addition an element.
// One thread per output element, 64 a workgroup. Grid: elements / 64, folded into y.
// Reference: tests/reference/vision_embed.ts. Tolerance: "reduce".
@group(0) @binding(0) var<storage, read> patches: array<f32>;
@group(0) @binding(1) var<storage, read> class_token: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
struct Params {
  elements: u32,
  dim: u32,
  rows: u32, // N
  class_rows: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let element = (group.x + group.y * groups.x) * 64u + lane;
  if (element >= params.elements) { return; }
  let d = element % params.dim;
  let row = (element / params.dim) % params.rows;
  let image = element / (params.dim * params.rows);
  var value = 0.0;
  if (row < params.class_rows) {
    value = class_token[d];
  } else {
    value = patches[(image * (params.rows - params.class_rows) + row - params.class_rows) * params.dim + d];
  }
  out[element] = value + positions[row * params.dim + d];
}
