import assert from "node:assert/strict";
import type { HeadShape } from "../../lib/ops/backend.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs, randomRotary } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { type BatchSequence, kvMap, kvShape, qkvCols, storeRows } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];
const PAGE_SLOTS = 16;

/** One layer of a sequence: `stored` slots from before, `tokens` now. */
interface Part {
  readonly stored: number;
  readonly tokens: number;
}

/** Attention of one ragged batch over pages in random order; every page that is not used holds NaN. */
async function attended(
  scope: Scope,
  parts: readonly Part[],
  shape: HeadShape,
  dtype: KvDtype,
  scale = 1 / Math.sqrt(shape.headDim),
) {
  const { heads, kvHeads, headDim } = shape;
  const draw = new Draw(headDim + parts[0].stored);
  const counts = parts.map(({ stored, tokens }) => Math.ceil((stored + tokens) / PAGE_SLOTS));
  const pageCount = counts.reduce((sum, count) => sum + count, 3);
  const free = draw.shuffled(pageCount);
  const pages = scope.pages(kvShape(dtype, shape, pageCount, PAGE_SLOTS));
  const sequences: BatchSequence[] = parts.map(({ stored, tokens }, s) => (
    { tokens, slotBase: [stored], tables: [free.splice(0, counts[s])] }
  ));
  const total = parts.reduce((sum, { tokens }) => sum + tokens, 0);
  const row = 2 * kvHeads * headDim;
  return await scope.step((step) => {
    // Unused pages, and the slots of used ones that no token may see yet.
    for (const page of free) storeRows(step, pages, [page], 0, new Float32Array(PAGE_SLOTS * row).fill(NaN));
    for (const { slotBase, tables } of sequences) {
      for (const page of tables[0]) {
        storeRows(step, pages, [page], 0, new Float32Array(PAGE_SLOTS * row).fill(NaN));
      }
      if (slotBase[0] > 0) storeRows(step, pages, tables[0], 0, draw.normal(slotBase[0] * row));
    }
    const qkv = step.upload(total, qkvCols(shape), draw.normal(total * qkvCols(shape)));
    const map = kvMap(step, sequences);
    const rotary = step.upload(total, headDim, randomRotary(draw, total, headDim));
    step.ropeWriteKv({ qkv, rotary, shape, pages, map, layer: 0 });
    const out = step.tensor(total, heads * headDim);
    step.pagedAttention({ qkv, shape, scale, pages, map, layer: 0, out });
    return [out];
  });
}

testParity(
  "pagedAttention computes its formula for every head shape, f32 pages",
  "reduce",
  HEAD_SHAPES,
  (scope, shape) => attended(scope, [{ stored: 70, tokens: 9 }, { stored: 0, tokens: 18 }], shape, "f32"),
);

testParity(
  "pagedAttention computes its formula for every head shape, f16 pages",
  "f16",
  HEAD_SHAPES,
  (scope, shape) => attended(scope, [{ stored: 70, tokens: 9 }, { stored: 0, tokens: 18 }], shape, "f16"),
);

testParity(
  "pagedAttention holds for every stored length around page and split borders, one token at a time",
  "reduce",
  [0, 1, 2, 14, 15, 16, 17, 31, 47, 48, 62, 63, 64, 65, 79, 127, 128, 129, 200, 319],
  (scope, stored) => attended(scope, [{ stored, tokens: 1 }], HEAD_SHAPES[1], "f32"),
);

testParity(
  "pagedAttention holds for chunks of every size at every base",
  "reduce",
  pairs([0, 1, 15, 60, 64, 130], [2, 3, 4, 5, 8, 15, 17, 33, 70])
    .map(([stored, tokens]) => ({ stored, tokens })),
  (scope, part) => attended(scope, [part], HEAD_SHAPES[0], "f32"),
);

testParity(
  "pagedAttention keeps sequences of a ragged batch apart",
  "reduce",
  HEAD_SHAPES.slice(0, 3),
  (scope, shape) =>
    attended(
      scope,
      [
        { stored: 0, tokens: 1 },
        { stored: 100, tokens: 1 },
        { stored: 3, tokens: 7 },
        { stored: 0, tokens: 33 },
        { stored: 63, tokens: 1 },
        { stored: 16, tokens: 16 },
      ],
      shape,
      "f32",
    ),
);

testParity(
  "pagedAttention does not overflow where scores are in the thousands",
  "f16",
  [{ stored: 130, tokens: 3 }],
  (scope, part) => attended(scope, [part], HEAD_SHAPES[1], "f32", 200),
);

testParity(
  "pagedAttention reads each layer through its own table and base",
  "f16",
  DTYPES,
  async (scope, dtype) => {
    const shape = HEAD_SHAPES[1], { heads, kvHeads, headDim } = shape;
    const draw = new Draw(21), row = 2 * kvHeads * headDim;
    const pages = scope.pages(kvShape(dtype, shape, 20, PAGE_SLOTS));
    const free = draw.shuffled(20);
    const take = (count: number) => free.splice(0, count);
    // Lengths differ per layer, as they do after a compression.
    const sequences: BatchSequence[] = [
      { tokens: 2, slotBase: [40, 9, 0], tables: [take(3), take(1), take(1)] },
      { tokens: 1, slotBase: [5, 31, 64], tables: [take(1), take(2), take(5)] },
    ];
    return await scope.step((step) => {
      for (const { slotBase, tables } of sequences) {
        for (const [layer, table] of tables.entries()) {
          if (slotBase[layer] > 0) storeRows(step, pages, table, 0, draw.normal(slotBase[layer] * row));
        }
      }
      const map = kvMap(step, sequences);
      const rotary = step.upload(3, headDim, randomRotary(draw, 3, headDim));
      return [0, 1, 2].map((layer) => {
        const qkv = step.upload(3, qkvCols(shape), draw.normal(3 * qkvCols(shape)));
        step.ropeWriteKv({ qkv, rotary, shape, pages, map, layer });
        const out = step.tensor(3, heads * headDim);
        step.pagedAttention({ qkv, shape, scale: 0.2, pages, map, layer, out });
        return out;
      });
    });
  },
);

/** Runs one prompt in pieces, each a step of its own beside `mates` other sequences; returns its rows of attention. */
async function inPieces(
  scope: Scope,
  shape: HeadShape,
  dtype: KvDtype,
  pieces: readonly number[],
  mates: number,
): Promise<Float32Array> {
  const { heads, headDim } = shape;
  const total = pieces.reduce((sum, piece) => sum + piece, 0);
  const draw = new Draw(31), cols = qkvCols(shape), width = heads * headDim;
  const rows = draw.normal(total * cols), rotary = randomRotary(draw, total, headDim);
  const pageCount = Math.ceil(total / PAGE_SLOTS) + mates;
  const other = new Draw(pieces.length + mates);
  const free = other.shuffled(pageCount);
  const pages = scope.pages(kvShape(dtype, shape, pageCount, PAGE_SLOTS));
  const table = free.splice(mates);
  const result = new Float32Array(total * width);
  let done = 0;
  for (const piece of pieces) {
    // Half of the mates stand before the prompt, so that its first row is not the batch's.
    const mate = (page: number): BatchSequence => ({
      tokens: 1 + page % 3,
      slotBase: [page % 7],
      tables: [[page]],
    });
    const before = free.slice(0, mates / 2).map(mate), after = free.slice(mates / 2).map(mate);
    const sequences = [...before, { tokens: piece, slotBase: [done], tables: [table] }, ...after];
    const first = before.reduce((sum, { tokens }) => sum + tokens, 0);
    const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens, 0);
    const qkv = other.normal(tokens * cols), angles = randomRotary(other, tokens, headDim);
    qkv.set(rows.subarray(done * cols, (done + piece) * cols), first * cols);
    angles.set(rotary.subarray(done * headDim, (done + piece) * headDim), first * headDim);
    const [out] = await scope.step((step) => {
      const operand = step.upload(tokens, cols, qkv), out = step.tensor(tokens, width);
      const map = kvMap(step, sequences);
      const turned = step.upload(tokens, headDim, angles);
      step.ropeWriteKv({ qkv: operand, rotary: turned, shape, pages, map, layer: 0 });
      step.pagedAttention({ qkv: operand, shape, scale: 0.3, pages, map, layer: 0, out });
      return [out];
    });
    assert.ok(out instanceof Float32Array);
    result.set(out.subarray(first * width, (first + piece) * width), done * width);
    done += piece;
  }
  return result;
}

for (const [dtype, shape] of pairs(DTYPES, [HEAD_SHAPES[1], HEAD_SHAPES[2]])) {
  testEach(
    `pagedAttention of ${dtype} ${shape.headDim} gives a prompt the same bits whole, in chunks, token by token, in any batch`,
    async (scope) => {
      const whole = await inPieces(scope, shape, dtype, [83], 0);
      const cuts = [[1, 82], [16, 16, 16, 16, 19], [64, 19], [7, 13, 63], [
        40,
        ...new Array<number>(43).fill(1),
      ]];
      for (const pieces of cuts) {
        const parts = await inPieces(scope, shape, dtype, pieces, 0);
        assertSameBits(parts, whole, `pieces ${pieces}`);
      }
      for (const mates of [2, 4, 6, 16]) {
        assertSameBits(await inPieces(scope, shape, dtype, [83], mates), whole, `beside ${mates} others`);
      }
      const mixed = await inPieces(scope, shape, dtype, [30, 1, 1, 51], 8);
      assertSameBits(mixed, whole, "in pieces beside 8 others");
    },
  );
}

testEach("pagedAttention of one slot is its value, exactly", async (scope) => {
  const shape = { heads: 2, kvHeads: 2, headDim: 16 };
  const pages = scope.pages(kvShape("f32", shape, 1));
  const rows = new Draw(3).normal(64), query = new Draw(4).normal(32);
  const [out] = await scope.step((step) => {
    storeRows(step, pages, [0], 0, rows);
    const out = step.tensor(1, 32);
    const qkv = new Float32Array(96);
    qkv.set(query);
    const map = kvMap(step, [{ tokens: 1, slotBase: [0], tables: [[0]] }]);
    step.pagedAttention({ qkv: step.upload(1, 96, qkv), shape, scale: 1, pages, map, layer: 0, out });
    return [out];
  });
  assertSameBits(out, rows.subarray(32), "the value of slot 0");
});
