/** What the contract says of steps and memory, beside the operations. */
import assert from "node:assert/strict";
import type { Step } from "../../lib/ops/backend.ts";
import type { Tensor } from "../../lib/ops/tensor.ts";
import { testEach } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { encode } from "../support/half.ts";
import { kvShape } from "../support/kv.ts";

testEach("finish returns whole tensors of both dtypes in the order asked", async (scope) => {
  const words = Uint32Array.of(7, 0xffff_ffff, 0), values = Float32Array.of(1.5);
  const [first, second, third] = await scope.step((step) => {
    const one = step.upload(1, 1, values), three = step.uploadIndices(3, 1, words);
    return [three, one, step.uploadIndices(1, 3, words)];
  });
  assert.deepEqual([first, second, third], [words, values, words]);
});

testEach("a step without reads and one without operations both finish", async (scope) => {
  assert.deepEqual(await scope.step(() => []), []);
  const store = scope.tensor(1, 4);
  await scope.step((step) => {
    step.scatterRows({
      x: step.upload(1, 4, Float32Array.of(1, 2, 3, 4)),
      rows: step.indices(Uint32Array.of(0)),
      out: store,
    });
    return [];
  });
  const [seen] = await scope.step(() => [store]);
  assert.deepEqual([...seen], [1, 2, 3, 4]);
});

testEach("indices may be empty", async (scope) => {
  const [values] = await scope.step((step) => {
    step.indices(new Uint32Array());
    return [step.upload(1, 1, Float32Array.of(3))];
  });
  assert.deepEqual([...values], [3]);
});

testEach("view is the same numbers under another shape", async (scope) => {
  const values = new Draw(1).normal(24);
  const [seen] = await scope.step((step) => {
    const x = step.upload(6, 4, values), out = step.tensor(1, 12);
    step.gatherRows({ x: step.view(x, 2, 12), rows: step.indices(Uint32Array.of(1)), out });
    return [out];
  });
  assertSameBits(seen, values.subarray(12), "the second half");
});

testEach("writeMatrix has copied when it returns, and rows may come in any order", async (scope) => {
  const dim = 8, rows = 19, values = new Draw(2).normal(rows * dim);
  const matrix = scope.matrix(rows, dim, "f32", new Float32Array(rows * dim));
  const order = new Draw(3).shuffled(rows);
  const bytes = new Uint8Array(dim * 4);
  for (const row of order) {
    bytes.set(encode("f32", values.subarray(row * dim, (row + 1) * dim)));
    scope.backend.writeMatrix(matrix, row, bytes);
  }
  bytes.fill(0xff);
  const [seen] = await scope.step((step) => {
    const out = step.tensor(rows, dim);
    const tokens = step.indices(Uint32Array.from({ length: rows }, (_, i) => i));
    step.embed({ table: matrix, features: null, tokens, out });
    return [out];
  });
  assertSameBits(seen, values, "all rows");
});

/** A chain of operations whose scratch has many sizes; gives scratch back as soon as it can when `early`. */
function chain(step: Step, early: boolean): Tensor {
  let x = step.upload(3, 16, new Draw(4).normal(48));
  for (let i = 0; i < 12; i++) {
    const wide = step.tensor(3 + i, 16);
    const rows = Uint32Array.from({ length: 3 + i }, (_, row) => row % x.rows);
    step.gatherRows({ x, rows: step.indices(rows), out: wide });
    const half = step.tensor(3 + i, 8);
    step.gated({ x: wide, activation: "silu", out: half });
    const joined = step.tensor(3 + i, 16);
    const weight = step.upload(1, 16, new Draw(i).normal(16, 1, 2));
    step.rmsNorm({ x: wide, weight, eps: 1e-6, out: joined });
    if (early) { for (const tensor of [x, wide, half, weight]) step.release(tensor); }
    x = joined;
  }
  return x;
}

testEach("release changes no result", async (scope) => {
  const [kept] = await scope.step((step) => [chain(step, false)]);
  const [released] = await scope.step((step) => [chain(step, true)]);
  assertSameBits(released, kept, "the end of the chain");
});

testEach("abandon drops a step, and the next one runs", async (scope) => {
  const before = await scope.step((step) => [chain(step, true)]);
  const step = scope.backend.begin();
  chain(step, false);
  step.abandon();
  const after = await scope.step((step) => [chain(step, true)]);
  assertSameBits(after[0], before[0], "the step after");
});

testEach("liveBytes counts what is held, and comes back when it is destroyed", async (scope) => {
  const { backend } = scope;
  await scope.step((step) => [chain(step, false)]);
  const before = backend.liveBytes();
  const tensor = backend.createTensor(100, 100), matrix = backend.createMatrix(128, 128, "f32");
  const pages = backend.createKvPages(kvShape("f16", { heads: 1, kvHeads: 1, headDim: 16 }, 8));
  const held = backend.liveBytes() - before;
  assert.ok(held >= 100 * 100 * 4 + 128 * 128 * 4 + 8 * pages.shape.pageBytes, `${held} bytes more`);
  backend.destroyTensor(tensor);
  backend.destroyMatrix(matrix);
  backend.destroyKvPages(pages);
  assert.equal(backend.liveBytes(), before);
});

testEach("liveBytes does not grow with steps", async (scope) => {
  for (let i = 0; i < 3; i++) await scope.step((step) => [chain(step, i % 2 === 0)]);
  const before = scope.backend.liveBytes();
  for (let i = 0; i < 20; i++) await scope.step((step) => [chain(step, i % 2 === 0)]);
  const step = scope.backend.begin();
  chain(step, false);
  step.abandon();
  assert.equal(scope.backend.liveBytes(), before);
});
