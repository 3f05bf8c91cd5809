import assert from "node:assert/strict";
import { createGpuBackend, type GpuBackend } from "../../../lib/gpu/backend.ts";
import { matmulTile } from "../../../lib/gpu/dense.ts";
import type { MatrixDtype } from "../../../lib/ops/tensor.ts";
import { Draw } from "../../support/cases.ts";
import { assertSameBits } from "../../support/compare.ts";
import { testGpu } from "../../support/gpu.ts";
import { encode } from "../../support/half.ts";

async function product(
  backend: GpuBackend,
  [m, n, k]: readonly [number, number, number],
  dtype: MatrixDtype,
): Promise<Float32Array> {
  const draw = new Draw(m + n + k);
  const weight = backend.createMatrix(n, k, dtype);
  backend.writeMatrix(weight, 0, encode(dtype, draw.normal(n * k)));
  const bias = backend.createTensor(1, n, draw.normal(n));
  const step = backend.begin();
  const out = step.tensor(m, n);
  step.matmul({ x: step.upload(m, k, draw.normal(m * k)), weight, bias, activation: "gelu", out });
  const [bytes] = await step.finish([out]);
  backend.destroyMatrix(weight);
  backend.destroyTensor(bias);
  return new Float32Array(bytes);
}

/** Small ones for every row tile; the last two are large enough for the tiles of a busy device. */
const SHAPES = [[1, 37, 52], [2, 8, 4], [3, 65, 20], [5, 9, 12], [17, 40, 588], [1100, 1000, 4], [
  40,
  27_000,
  4,
]] as const;

testGpu("matmul gives the same bits with a processor's tiles and with a graphics card's", {
  tuning: { software: true },
}, async (narrow) => {
  const wide = await createGpuBackend({ tuning: { software: false } });
  try {
    for (const dtype of ["f32", "f16", "bf16"] as const) {
      for (const shape of SHAPES) {
        assertSameBits(
          await product(wide, shape, dtype),
          await product(narrow, shape, dtype),
          `${shape.join(" × ")} ${dtype}`,
        );
      }
    }
  } finally {
    wide.close();
  }
});

Deno.test("matmulTile takes eight columns an invocation once a graphics card is busy, and always on a processor", () => {
  assert.equal(matmulTile(1, 4096, true).columns, 1);
  assert.equal(matmulTile(1, 4096, false).columns, 8);
  assert.equal(matmulTile(1, 131_072, true).columns, 8);
  assert.equal(matmulTile(1024, 4096, true).columns, 8);
  assert.deepEqual([1, 2, 3, 4, 7, 8, 100].map((rows) => matmulTile(rows, 64, false).rows), [
    1,
    2,
    2,
    4,
    4,
    8,
    8,
  ]);
});
