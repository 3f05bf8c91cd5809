import assert from "node:assert/strict";
import type { GpuBackend } from "../../../lib/gpu/backend.ts";
import type { Step } from "../../../lib/ops/backend.ts";
import type { Tensor } from "../../../lib/ops/tensor.ts";
import { testGpu } from "../../support/gpu.ts";

function counting(first: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => first + i);
}

/** Runs a step and reads its tensors as f32. */
async function run(backend: GpuBackend, record: (step: Step) => readonly Tensor[]): Promise<Float32Array[]> {
  const step = backend.begin();
  return (await step.finish(record(step))).map((bytes) => new Float32Array(bytes));
}

/** Copies rows of `x` in their order: the cheapest dispatch. */
function copy(step: Step, x: Tensor): Tensor {
  const out = step.tensor(x.rows, x.cols);
  step.gatherRows({ x, rows: step.indices(Uint32Array.from({ length: x.rows }, (_, i) => i)), out });
  return out;
}

testGpu("an upload after a release does not reach back to the operations before it", {}, async (backend) => {
  const [kept, second] = await run(backend, (step) => {
    const first = step.upload(2, 8, counting(0, 16));
    const kept = copy(step, first);
    step.release(first);
    return [kept, copy(step, step.upload(2, 8, counting(100, 16)))];
  });
  assert.deepEqual(kept, counting(0, 16));
  assert.deepEqual(second, counting(100, 16));
});

testGpu("released scratch is reused inside the step", {}, async (backend) => {
  const before = backend.liveBytes();
  const [last] = await run(backend, (step) => {
    let x = step.upload(64, 256, counting(0, 64 * 256));
    for (let i = 0; i < 20; i++) {
      const next = copy(step, x);
      step.release(x);
      x = next;
    }
    return [x];
  });
  assert.deepEqual(last, counting(0, 64 * 256));
  // Two tensors of 64 KiB take turns; twenty-one would be more than a mebibyte.
  assert.ok(backend.liveBytes() - before < 512 * 1024, `${backend.liveBytes() - before} bytes more`);
});

testGpu("equal steps allocate nothing after the first", {}, async (backend) => {
  const once = () => run(backend, (step) => [copy(step, copy(step, step.upload(3, 8, counting(7, 24))))]);
  await once();
  const bytes = backend.liveBytes();
  for (let i = 0; i < 20; i++) assert.deepEqual((await once())[0], counting(7, 24));
  assert.equal(backend.liveBytes(), bytes);
});

testGpu("a step of many dispatches runs them in order over several submits", {}, async (backend) => {
  // Each adds itself to what is there: 150 of them, each with params of its own, are three submits.
  const one = backend.createMatrix(4, 4, "f32");
  backend.writeMatrix(
    one,
    0,
    new Uint8Array(Float32Array.from({ length: 16 }, (_, i) => i % 5 === 0 ? 1 : 0).buffer),
  );
  const [sum] = await run(backend, (step) => {
    const x = step.upload(1, 4, Float32Array.of(1, 2, 3, 4));
    const out = step.upload(1, 4, new Float32Array(4));
    for (let i = 0; i < 150; i++) step.matmul({ x, weight: one, residual: out, out });
    return [out];
  });
  assert.deepEqual(sum, Float32Array.of(150, 300, 450, 600));
  backend.destroyMatrix(one);
});

testGpu("params of more dispatches than the arena holds at first all arrive", {}, async (backend) => {
  const rows = 700;
  const results = await run(backend, (step) => {
    const x = step.upload(rows, 4, counting(0, 4 * rows));
    return Array.from({ length: rows }, (_, i) => {
      const out = step.tensor(1, 4);
      step.gatherRows({ x, rows: step.indices(Uint32Array.of(i)), out });
      return out;
    });
  });
  results.forEach((result, i) => assert.deepEqual(result, counting(4 * i, 4)));
});

testGpu("a step that reads nothing is done before the next one", {}, async (backend) => {
  const table = backend.createTensor(4, 4);
  assert.deepEqual(
    await run(backend, (step) => {
      step.scatterRows({
        x: step.upload(1, 4, counting(1, 4)),
        rows: step.indices(Uint32Array.of(2)),
        out: table,
      });
      return [];
    }),
    [],
  );
  const [seen] = await run(backend, () => [table]);
  assert.deepEqual(seen, Float32Array.of(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0));
});

testGpu("an abandoned step leaves no trace and a new one may begin", {}, async (backend) => {
  const table = backend.createTensor(1, 4);
  const step = backend.begin();
  assert.throws(() => backend.begin(), /one step is open/);
  step.scatterRows({
    x: step.upload(1, 4, counting(1, 4)),
    rows: step.indices(Uint32Array.of(0)),
    out: table,
  });
  step.abandon();
  const [seen] = await run(backend, () => [table]);
  assert.deepEqual(seen, new Float32Array(4));
});

testGpu("a view is the same memory under another shape", {}, async (backend) => {
  const [rows] = await run(
    backend,
    (step) => [copy(step, step.view(step.upload(2, 12, counting(0, 24)), 6, 4))],
  );
  assert.deepEqual(rows, counting(0, 24));
});

testGpu("a readback longer than any before it comes whole", {}, async (backend) => {
  for (const length of [4, 100_000, 8]) {
    const [values] = await run(backend, (step) => [step.upload(1, length, counting(0, length))]);
    assert.deepEqual(values, counting(0, length));
  }
});

testGpu("a destroyed tensor's bind groups do not serve the tensor made in its place", {}, async (backend) => {
  for (let i = 0; i < 5; i++) {
    const table = backend.createTensor(2, 4, counting(10 * i, 8));
    const [values] = await run(backend, (step) => [copy(step, table)]);
    assert.deepEqual(values, counting(10 * i, 8));
    backend.destroyTensor(table);
  }
});
