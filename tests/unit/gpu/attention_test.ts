import assert from "node:assert/strict";
import type { Backend, HeadShape } from "../../../lib/ops/backend.ts";
import type { KvDtype } from "../../../lib/ops/kv.ts";
import { createGpuBackend } from "../../../lib/gpu/backend.ts";
import type { GpuKvPages } from "../../../lib/gpu/recorder.ts";
import { ReferenceBackend } from "../../reference/backend.ts";
import { Draw, randomRotary } from "../../support/cases.ts";
import { assertClose, assertSameBits } from "../../support/compare.ts";
import { testGpu } from "../../support/gpu.ts";
import { kvJobs, kvMap, kvShape, qkvCols, storeRows } from "../../support/kv.ts";
import { Scope } from "../../support/scope.ts";

/** Attention of a chunk and of one token over pages that `tables` scatter. */
async function attended(backend: Backend, shape: HeadShape, dtype: KvDtype, pageCount: number) {
  using scope = new Scope(backend);
  const draw = new Draw(shape.heads + shape.headDim);
  const row = 2 * shape.kvHeads * shape.headDim;
  const pages = scope.pages(kvShape(dtype, shape, pageCount));
  const free = draw.shuffled(pageCount);
  const chunk = free.splice(0, 6), last = free.splice(0, 6);
  return await scope.step((step) => {
    storeRows(step, pages, chunk, 0, draw.normal(70 * row));
    storeRows(step, pages, last, 0, draw.normal(80 * row));
    const tokens = 20, cols = qkvCols(shape);
    const qkv = step.upload(tokens, cols, draw.normal(tokens * cols));
    const rotary = step.upload(tokens, shape.headDim, randomRotary(draw, tokens, shape.headDim));
    const map = kvMap(step, [
      { tokens: 19, slotBase: [70], tables: [chunk] },
      { tokens: 1, slotBase: [80], tables: [last] },
    ]);
    const out = step.tensor(tokens, shape.heads * shape.headDim);
    step.ropeWriteKv({ qkv, rotary, shape, pages, map, layer: 0 });
    step.pagedAttention({ qkv, shape, scale: 0.2, pages, map, layer: 0, out });
    return [out];
  });
}

/** Groups of five to eight heads, of more than a workgroup takes at once, and heads of odd and large sizes. */
const WIDE_SHAPES: readonly HeadShape[] = [
  { heads: 5, kvHeads: 1, headDim: 20 },
  { heads: 14, kvHeads: 2, headDim: 64 },
  { heads: 8, kvHeads: 1, headDim: 4 },
  { heads: 11, kvHeads: 1, headDim: 32 },
  { heads: 20, kvHeads: 1, headDim: 12 },
  { heads: 2, kvHeads: 1, headDim: 256 },
];

testGpu("pagedAttention computes its formula for wide head groups and odd head sizes", {}, async (gpu) => {
  for (const shape of WIDE_SHAPES) {
    const [expected] = await attended(new ReferenceBackend(), shape, "f32", 12);
    const [actual] = await attended(gpu, shape, "f32", 12);
    assertClose(actual, expected, "reduce", JSON.stringify(shape));
  }
});

const SHARDED: HeadShape = { heads: 4, kvHeads: 2, headDim: 32 };

for (const dtype of ["f16", "f32"] as const) {
  // Four pages a buffer: 2 × 2 × 16 × 32 elements are 8 KiB of f32, 4 KiB of f16; 14 pages take four buffers.
  const sliceBytesMax = 4 * 2 * 2 * 16 * 32 * (dtype === "f16" ? 2 : 4);
  const options = { sliceBytesMax };
  testGpu(`pagedAttention of ${dtype} has the same bits over four shards as over one`, {}, async (whole) => {
    const [expected] = await attended(whole, SHARDED, dtype, 14);
    const cut = await createGpuBackend(options);
    try {
      const pages = cut.createKvPages(kvShape(dtype, SHARDED, 14)) as GpuKvPages;
      assert.equal(pages.shards.length, 4);
      cut.destroyKvPages(pages);
      assertSameBits((await attended(cut, SHARDED, dtype, 14))[0], expected, "four shards");
    } finally {
      cut.close();
    }
  });

  testGpu(`compression of ${dtype} reads and writes pages of every shard`, options, async (gpu) => {
    const [scores, kept, gathered, means] = await compressed(gpu, dtype);
    const expected = await compressed(new ReferenceBackend(), dtype);
    assertClose(scores, expected[0], "reduce", "scores");
    assert.deepEqual(kept, expected[1]);
    assertClose(gathered, expected[2], "f16", "attention over gathered slots");
    assertClose(means, expected[3], "f16", "attention over means");
  });
}

/** Scores and kept slots of 40 slots, and what attention reads from the gathered and from the averaged ones. */
async function compressed(backend: Backend, dtype: KvDtype) {
  using scope = new Scope(backend);
  const { kvHeads, headDim } = SHARDED;
  const draw = new Draw(5);
  const pages = scope.pages(kvShape(dtype, SHARDED, 14));
  const source = [1, 12, 6], gatherTarget = [9, 3], meanTarget = [13, 4];
  return await scope.step((step) => {
    storeRows(step, pages, source, 0, draw.normal(40 * 2 * kvHeads * headDim));
    const jobs = kvJobs(step, [{ slots: 40, kept: 18, source, target: gatherTarget }]);
    const scores = step.tensor(kvHeads, 40), kept = step.tensor(kvHeads, 18, "u32");
    step.kvNorm({ pages, jobs, scores });
    step.kvTop({ jobs, kvHeads, scores, kept });
    step.kvGather({ pages, jobs, kept });
    // 40 slots by threes: 13 means and one slot as it was.
    step.kvMean({
      pages,
      jobs: kvJobs(step, [{ slots: 40, kept: 14, source, target: meanTarget }]),
      factor: 3,
    });
    const cols = qkvCols(SHARDED);
    const qkv = step.upload(2, cols, draw.normal(2 * cols));
    const out = step.tensor(2, SHARDED.heads * headDim), meanOut = step.tensor(2, SHARDED.heads * headDim);
    const read = (table: number[], slots: number) =>
      kvMap(step, [0, 1].map(() => ({ tokens: 1, slotBase: [slots - 1], tables: [table] })));
    const operands = { qkv, shape: SHARDED, scale: 0.2, pages, layer: 0 };
    step.pagedAttention({ ...operands, map: read(gatherTarget, 18), out });
    step.pagedAttention({ ...operands, map: read(meanTarget, 14), out: meanOut });
    return [scores, kept, out, meanOut];
  });
}

testGpu("segmentAttention reaches more tiles than one grid dimension has", {}, async (gpu) => {
  using scope = new Scope(gpu);
  const rows = 66_000, shape = { heads: 1, kvHeads: 1, headDim: 4 };
  const qkv = new Draw(8).normal(rows * 12);
  const [out] = await scope.step((step) => {
    const out = step.tensor(rows, 4);
    const segments = step.indices(Uint32Array.from({ length: rows + 1 }, (_, i) => i));
    step.segmentAttention({ qkv: step.upload(rows, 12, qkv), shape, scale: 1, segments, out });
    return [out];
  });
  // Alone in its segment a row attends to itself: the softmax is one.
  const values = Float32Array.from({ length: rows * 4 }, (_, i) => qkv[Math.floor(i / 4) * 12 + 8 + i % 4]);
  assertSameBits(out, values, "the value of every row");
});

testGpu("patchify reaches more elements than one grid dimension has", {}, async (gpu) => {
  using scope = new Scope(gpu);
  const side = 1200, patch = 400;
  const pixels = Float32Array.from({ length: 3 * side * side }, (_, i) => i);
  const [out] = await scope.step((step) => {
    const out = step.tensor(9, 3 * patch * patch);
    step.patchify({ pixels: step.upload(1, pixels.length, pixels), height: side, width: side, patch, out });
    return [out];
  });
  assert.ok(out.length > 65_535 * 64);
  // The last element of the last patch is the last pixel; the first of patch 5 stands in row 400, column 800.
  assert.equal(out[out.length - 1], pixels.length - 1);
  assert.equal(out[5 * 3 * patch * patch], 400 * side + 800);
});
