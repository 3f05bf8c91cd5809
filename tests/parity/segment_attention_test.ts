import assert from "node:assert/strict";
import type { HeadShape } from "../../lib/ops/backend.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { qkvCols } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";

async function attended(
  scope: Scope,
  lengths: readonly number[],
  shape: HeadShape,
  qkv: Float32Array,
  scale: number,
) {
  const bounds = Uint32Array.of(0, ...lengths);
  for (let i = 1; i < bounds.length; i++) bounds[i] += bounds[i - 1];
  const rows = bounds[bounds.length - 1];
  const [out] = await scope.step((step) => {
    const out = step.tensor(rows, shape.heads * shape.headDim);
    step.segmentAttention({
      qkv: step.upload(rows, qkvCols(shape), qkv),
      shape,
      scale,
      segments: step.indices(bounds),
      out,
    });
    return [out];
  });
  assert.ok(out instanceof Float32Array);
  return out;
}

function randomRows(lengths: readonly number[], shape: HeadShape): Float32Array {
  const rows = lengths.reduce((sum, length) => sum + length, 0);
  return new Draw(rows + shape.headDim).normal(rows * qkvCols(shape));
}

testParity(
  "segmentAttention computes its formula for every head shape",
  "reduce",
  HEAD_SHAPES,
  async (scope, shape) => {
    const lengths = [17, 1, 30];
    return [await attended(scope, lengths, shape, randomRows(lengths, shape), 1 / Math.sqrt(shape.headDim))];
  },
);

testParity(
  "segmentAttention holds for every segment length around tile and split borders",
  "reduce",
  [[1], [2], [3], [5], [8, 9], [15, 16, 17], [33], [63], [64], [65], [127, 2], [130], [1, 1, 1, 1, 200]],
  async (scope, lengths) => {
    const shape = HEAD_SHAPES[0];
    return [await attended(scope, lengths, shape, randomRows(lengths, shape), 0.25)];
  },
);

testParity(
  "segmentAttention does not overflow where scores are in the thousands",
  "f16",
  [[70, 5]],
  async (
    scope,
    lengths,
  ) => {
    const shape = HEAD_SHAPES[1];
    return [await attended(scope, lengths, shape, randomRows(lengths, shape), 200)];
  },
);

testEach("segmentAttention gives a segment the same bits alone and among others", async (scope) => {
  const shape = HEAD_SHAPES[2], lengths = [3, 25, 70, 1, 25, 16];
  const cols = qkvCols(shape), width = shape.heads * shape.headDim;
  const qkv = randomRows(lengths, shape);
  const together = await attended(scope, lengths, shape, qkv, 0.1);
  let first = 0;
  for (const length of lengths) {
    const own = qkv.subarray(first * cols, (first + length) * cols);
    assertSameBits(
      await attended(scope, [length], shape, own, 0.1),
      together.subarray(first * width, (first + length) * width),
      `the segment of ${length} rows from row ${first}`,
    );
    first += length;
  }
});

testEach("segmentAttention keeps a segment of NaN to itself", async (scope) => {
  const shape = HEAD_SHAPES[1], lengths = [20, 7, 66];
  const cols = qkvCols(shape), width = shape.heads * shape.headDim;
  const qkv = randomRows(lengths, shape);
  const clean = await attended(scope, lengths, shape, qkv, 0.2);
  const dirty = await attended(scope, lengths, shape, qkv.fill(NaN, 20 * cols, 27 * cols), 0.2);
  assert.ok(dirty.subarray(20 * width, 27 * width).every(Number.isNaN), "a segment of NaN yields NaN");
  assertSameBits(dirty.subarray(0, 20 * width), clean.subarray(0, 20 * width), "the segment before");
  assertSameBits(dirty.subarray(27 * width), clean.subarray(27 * width), "the segment after");
});
