import assert from "node:assert/strict";
import { BindGroups } from "../../../lib/gpu/bind_groups.ts";
import { Buffers } from "../../../lib/gpu/buffers.ts";
import { findAdapter, openDevice } from "../../../lib/gpu/device.ts";
import { Faults } from "../../../lib/gpu/faults.ts";
import { Pipelines } from "../../../lib/gpu/pipelines.ts";
import { testGpu } from "../../support/gpu.ts";

testGpu("BindGroups keeps a bounded number and drops those of a destroyed buffer", {}, async () => {
  const device = await openDevice((await findAdapter()).adapter!);
  const faults = new Faults(device);
  const buffers = new Buffers(device, faults);
  const groups = new BindGroups(device, 2);
  buffers.onDestroy = (buffer) => groups.forget(buffer);
  const pipeline = new Pipelines(device, faults).get({
    key: "copy",
    code: `@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = x[0]; }`,
    bindings: ["read", "read_write"],
    paramWords: 0,
  });
  const [a, b, c] = [1, 2, 3].map(() => buffers.create("test", 16));
  const ab = groups.get(pipeline, [a, b]);
  assert.equal(groups.get(pipeline, [a, b]), ab, "equal buffers, equal group");
  const ba = groups.get(pipeline, [b, a]);
  assert.notEqual(ba, ab, "order counts");
  groups.get(pipeline, [a, c]);
  assert.equal(groups.size, 2, "the oldest went");
  buffers.destroy(b);
  assert.equal(groups.size, 1, "the group of b went with b");
  buffers.destroy(a);
  assert.equal(groups.size, 0);
  await faults.check();
  buffers.destroyAll();
  device.destroy();
});
