import assert from "node:assert/strict";
import { createGpuBackend, type GpuBackend } from "../../../lib/gpu/backend.ts";
import { Draw } from "../../support/cases.ts";
import { assertSameBits } from "../../support/compare.ts";
import { testGpu } from "../../support/gpu.ts";
import { encode } from "../../support/half.ts";

const KV = { dtype: "f16", kvHeads: 2, headDim: 16, pageBytes: 2048, pageSlots: 16 } as const;

testGpu("the self-test passes every check and says what it measured", {}, (backend) => {
  assert.deepEqual(backend.selfTest.map((row) => [row.name, row.passed]), [
    ["matmul", true],
    ["workgroup-sum", true],
    ["packed-f16", true],
  ]);
  assert.deepEqual(backend.capabilities.features, ["packed-f16"]);
  for (const { detail } of backend.selfTest) assert.notEqual(detail, "");
  return Promise.resolve();
});

testGpu("liveBytes counts what is created and destroyed, and nothing is left after close", {}, (backend) => {
  const before = backend.liveBytes();
  const tensor = backend.createTensor(3, 100);
  assert.equal(backend.liveBytes() - before, 1200);
  const matrix = backend.createMatrix(9, 8, "f16");
  assert.equal(backend.liveBytes() - before, 1200 + 16 * 8 * 2, "rows are padded to blocks of eight");
  const pages = backend.createKvPages({ ...KV, pageCount: 5 });
  assert.equal(backend.liveBytes() - before, 1200 + 256 + 5 * 2048);
  backend.destroyTensor(tensor);
  backend.destroyMatrix(matrix);
  backend.destroyKvPages(pages);
  assert.equal(backend.liveBytes(), before);
  backend.createTensor(1, 4);
  backend.close();
  assert.equal(backend.liveBytes(), 0);
  return Promise.resolve();
});

testGpu("a tensor beyond the binding limit is refused", {}, (backend) => {
  const { tensorBytesMax } = backend.capabilities;
  assert.throws(() => backend.createTensor(1, tensorBytesMax / 4 + 1), /fits one binding/);
  return Promise.resolve();
});

testGpu("destroying a tensor twice is refused", {}, (backend) => {
  const tensor = backend.createTensor(1, 4);
  backend.destroyTensor(tensor);
  assert.throws(() => backend.destroyTensor(tensor), /alive when destroyed/);
  return Promise.resolve();
});

testGpu("a matrix beyond the binding limit is cut by rows and multiplied like a whole one", {
  sliceBytesMax: 4096,
}, async (backend) => {
  // 64 columns of f32 are 256 bytes a row: 16 rows a slice, so 37 rows make three.
  const rows = 37, cols = 64, draw = new Draw(1);
  const weight = draw.normal(rows * cols), x = draw.normal(3 * cols);
  const matrix = backend.createMatrix(rows, cols, "f32");
  // Two writes, neither of which ends where a slice does.
  const bytes = new Uint8Array(weight.buffer);
  backend.writeMatrix(matrix, 21, bytes.subarray(21 * cols * 4));
  backend.writeMatrix(matrix, 0, bytes.subarray(0, 21 * cols * 4));
  const step = backend.begin();
  const out = step.tensor(3, rows);
  step.matmul({ x: step.upload(3, cols, x), weight: matrix, out });
  const embedded = step.tensor(rows, cols);
  step.embed({
    table: matrix,
    features: null,
    tokens: step.indices(Uint32Array.from(weight.keys()).subarray(0, rows)),
    out: embedded,
  });
  const [product, table] = (await step.finish([out, embedded])).map((result) => new Float32Array(result));
  assert.deepEqual(table, weight);
  for (let m = 0; m < 3; m++) {
    for (let n = 0; n < rows; n++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) sum += x[m * cols + k] * weight[n * cols + k];
      assert.ok(Math.abs(product[m * rows + n] - sum) < 1e-4, `row ${m}, column ${n}`);
    }
  }
});

testGpu(
  "a KV pool is cut into at most four shards of a power of two of pages",
  { sliceBytesMax: 8192 },
  (backend) => {
    const { kvBytesMax } = backend.capabilities;
    assert.equal(kvBytesMax, 16_384);
    const before = backend.liveBytes();
    // Pages of 3 · 1024 bytes: two a shard, the worst case for a power of two.
    const shape = { dtype: "f16", kvHeads: 3, headDim: 16, pageBytes: 3072, pageSlots: 16 } as const;
    const pageCount = Math.floor(kvBytesMax / shape.pageBytes);
    const pages = backend.createKvPages({ ...shape, pageCount });
    assert.equal(backend.liveBytes() - before, pageCount * shape.pageBytes);
    backend.destroyKvPages(pages);
    assert.throws(() => backend.createKvPages({ ...shape, pageCount: 9 }), /fit 4 bindings/);
    return Promise.resolve();
  },
);

testGpu("without packed f16, f16 weights give the same bits and f16 pages are refused", {
  withoutFeatures: ["packed-f16"],
}, async (backend) => {
  assert.deepEqual(backend.capabilities.features, []);
  assert.throws(() => backend.createKvPages({ ...KV, pageCount: 1 }), /cannot store f16 keys and values/);
  const packed = await createGpuBackend();
  const draw = new Draw(5), x = draw.normal(2 * 12), weight = encode("f16", draw.normal(9 * 12));
  const product = async (on: GpuBackend) => {
    const matrix = on.createMatrix(9, 12, "f16");
    on.writeMatrix(matrix, 0, weight);
    const step = on.begin();
    const out = step.tensor(2, 9);
    step.matmul({ x: step.upload(2, 12, x), weight: matrix, out });
    return new Float32Array((await step.finish([out]))[0]);
  };
  try {
    assertSameBits(await product(backend), await product(packed), "product");
  } finally {
    packed.close();
  }
});

testGpu("an operation that would read what it writes is refused by name", {}, (backend) => {
  const step = backend.begin();
  const x = step.tensor(2, 8);
  assert.throws(
    () => step.gatherRows({ x, rows: step.indices(Uint32Array.of(0, 1)), out: x }),
    /gather_rows .* does not read what it writes/,
  );
  step.abandon();
  return Promise.resolve();
});
