import assert from "node:assert/strict";
import { Faults } from "../../../lib/gpu/faults.ts";
import { findAdapter, openDevice } from "../../../lib/gpu/device.ts";
import { Pipelines } from "../../../lib/gpu/pipelines.ts";
import type { Kernel } from "../../../shaders/kernel.ts";
import { testGpu } from "../../support/gpu.ts";

const GOOD: Kernel = {
  key: "good",
  code: `@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = 1u; }`,
  bindings: ["read_write"],
  paramWords: 0,
};

testGpu("a kernel that does not compile fails the next check by its key, once", {}, async () => {
  const { adapter } = await findAdapter();
  const device = await openDevice(adapter!);
  const faults = new Faults(device);
  const pipelines = new Pipelines(device, faults);
  pipelines.get(GOOD);
  await faults.check();
  pipelines.get({ ...GOOD, key: "bad", code: "fn main( {" });
  await assert.rejects(() => faults.check(), /kernel bad: /);
  await faults.check();
  device.destroy();
});

testGpu("kernels are compiled once a key and share the layout of equal bindings", {}, async () => {
  const { adapter } = await findAdapter();
  const device = await openDevice(adapter!);
  const pipelines = new Pipelines(device, new Faults(device));
  const first = pipelines.get(GOOD);
  assert.equal(pipelines.get({ ...GOOD }), first);
  const other = pipelines.get({ ...GOOD, key: "other" });
  assert.notEqual(other.pipeline, first.pipeline);
  assert.equal(other.layout, first.layout);
  device.destroy();
});
