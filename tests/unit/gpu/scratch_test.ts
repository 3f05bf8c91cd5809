import assert from "node:assert/strict";
import fc from "fast-check";
import { Buffers } from "../../../lib/gpu/buffers.ts";
import { findAdapter, openDevice } from "../../../lib/gpu/device.ts";
import { Faults } from "../../../lib/gpu/faults.ts";
import { ScratchPool, sizeClass } from "../../../lib/gpu/scratch.ts";
import { testGpu } from "../../support/gpu.ts";

const LIMIT = 2 ** 27;

Deno.test("sizeClass holds what was asked for, wastes a fifth at most and never exceeds a binding", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: LIMIT }), (bytes) => {
    const size = sizeClass(bytes, LIMIT);
    assert.ok(size >= bytes && size <= LIMIT && size % 16 === 0);
    assert.ok(size <= Math.max(256, bytes * 1.25), `${bytes} → ${size}`);
    assert.equal(sizeClass(size, LIMIT), size, "a class is its own class");
  }));
});

testGpu("ScratchPool destroys the longest unused first, down to its budget", {}, async () => {
  const device = await openDevice((await findAdapter()).adapter!);
  const destroyed: GPUBuffer[] = [];
  const buffers = new Buffers(device, new Faults(device));
  buffers.onDestroy = (buffer) => destroyed.push(buffer);
  const pool = new ScratchPool(buffers, LIMIT, 2048);
  const [old, middle, fresh] = [pool.take(1024), pool.take(1024), pool.take(1024)];
  for (const buffer of [old, middle, fresh]) pool.give(buffer);
  assert.equal(buffers.liveBytes, 3072, "nothing goes before trim");
  pool.trim();
  assert.deepEqual(destroyed, [old]);
  assert.equal(buffers.liveBytes, 2048);
  assert.equal(pool.take(1024), fresh, "the last one given is taken first");
  assert.equal(pool.take(1024), middle);
  assert.notEqual(pool.take(1024), old);
  buffers.destroyAll();
  device.destroy();
});
