// patchify: out[(i·R + r)·C + c, (ch·P + y)·P + x] = pixels[i, (ch·H + r·P + y)·W + c·P + x], R = ⌊H/P⌋, C = ⌊W/P⌋.
// pixels [images, 3·height·width] f32. out [images·R·C, 3·P·P] f32. A copy: no arithmetic.
// One thread per output element, 64 a workgroup. Grid: elements / 64, folded into y.
// Reference: tests/reference/patchify.ts. Tolerance: "exact".
@group(0) @binding(0) var<storage, read> pixels: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
struct Params {
  elements: u32,
  height: u32,
  width: u32,
  patch_side: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let element = (group.x + group.y * groups.x) * 64u + lane;
  if (element >= params.elements) { return; }
  let side = params.patch_side;
  let rows = params.height / side;
  let columns = params.width / side;

  let x = element % side;
  let y = (element / side) % side;
  let channel = (element / (side * side)) % 3u;
  let patch_index = element / (3u * side * side);
  let column = patch_index % columns;
  let row = (patch_index / columns) % rows;
  let image = patch_index / (columns * rows);

  let line = (image * 3u + channel) * params.height + row * side + y;
  out[element] = pixels[line * params.width + column * side + x];
}
