import type { HeadShape } from "../../lib/ops/backend.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs, randomRotary } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, kvMap, kvShape, qkvCols, readValues, storeRows } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];

/** Three sequences over two layers, with different bases per layer, across page borders. */
function batch(draw: Draw) {
  const pages = draw.shuffled(24);
  const take = (count: number) => pages.splice(0, count);
  return [
    { tokens: 5, slotBase: [0, 0], tables: [take(1), take(1)] },
    { tokens: 19, slotBase: [14, 31], tables: [take(3), take(4)] },
    { tokens: 1, slotBase: [15, 16], tables: [take(1), take(2)] },
  ];
}

/** Records both layers of one ragged batch; returns qkv after it and what attention and values say of the pool. */
async function written(scope: Scope, shape: HeadShape, dtype: KvDtype) {
  const draw = new Draw(shape.headDim + shape.heads);
  const { kvHeads, headDim } = shape;
  const sequences = batch(draw), tokens = 25;
  const pages = scope.pages(kvShape(dtype, shape, 24 + 19));
  const spare = Array.from({ length: 19 }, (_, i) => 24 + i);
  const first = draw.normal(tokens * qkvCols(shape)), second = draw.normal(tokens * qkvCols(shape));
  const rotary = randomRotary(draw, tokens, headDim);
  const query = draw.normal(kvHeads * headDim);
  return await scope.step((step) => {
    const map = kvMap(step, sequences);
    const angles = step.upload(tokens, headDim, rotary);
    const rotated = [first, second].map((values, layer) => {
      const qkv = step.upload(tokens, qkvCols(shape), values);
      step.ropeWriteKv({ qkv, rotary: angles, shape, pages, map, layer });
      return qkv;
    });
    const seen = sequences.flatMap(({ tokens, slotBase, tables }) =>
      tables.map((table, layer) => attendRows(step, pages, table, slotBase[layer] + tokens, query))
    );
    return [...rotated, ...seen, readValues(step, pages, sequences[0].tables[1], 5, spare)];
  });
}

testParity(
  "ropeWriteKv rotates queries and keys in place and stores keys and values in their slots",
  "reduce",
  HEAD_SHAPES,
  (scope, shape) => written(scope, shape, "f32"),
);

testParity(
  "ropeWriteKv rounds what it stores to f16",
  "f16",
  HEAD_SHAPES,
  (scope, shape) => written(scope, shape, "f16"),
);

testParity(
  "ropeWriteKv stores values unrotated and rounded once, outliers as the largest f16",
  "exact",
  DTYPES,
  async (scope, dtype) => {
    const shape = { heads: 1, kvHeads: 1, headDim: 16 };
    const pages = scope.pages(kvShape(dtype, shape, 20));
    const draw = new Draw(7), spare = draw.shuffled(20), table = spare.splice(0, 1);
    const qkv = draw.normal(3 * 48, 10);
    // The greatest f16, the next f32 that rounds beyond it, the smallest subnormal, ties to even, far outliers.
    const special = [65504, 65520, 2 ** -24, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 1e6, -1e6, -0.1];
    qkv.set(dtype === "f16" ? special : special.map((value) => value / 3), 32);
    return await scope.step((step) => {
      step.ropeWriteKv({
        qkv: step.upload(3, 48, qkv),
        rotary: step.upload(3, 16, randomRotary(draw, 3, 16)),
        shape,
        pages,
        map: kvMap(step, [{ tokens: 3, slotBase: [0], tables: [table] }]),
        layer: 0,
      });
      return [readValues(step, pages, table, 3, spare)];
    });
  },
);

for (const [dtype, shape] of pairs(DTYPES, HEAD_SHAPES.slice(0, 3))) {
  testEach(
    `ropeWriteKv of ${dtype} ${shape.headDim} leaves other pages and other slots of its pages as they were`,
    async (scope) => {
      const { kvHeads, headDim } = shape;
      const pages = scope.pages(kvShape(dtype, shape, 40));
      const draw = new Draw(11), free = draw.shuffled(40);
      // Page `before` holds slots 0 … 15 of the sequence that is written to, `other` belongs to another one.
      const [before, written, other] = free.splice(0, 3);
      const query = draw.normal(kvHeads * headDim);
      const stored = 2 * kvHeads * headDim;
      await scope.step((step) => {
        storeRows(step, pages, [before, written], 0, draw.normal(32 * stored));
        storeRows(step, pages, [other], 0, draw.normal(16 * stored));
        return [];
      });
      const look = () =>
        scope.step((step) => [
          attendRows(step, pages, [other], 16, query),
          attendRows(step, pages, [before, written], 20, query),
          readValues(step, pages, [other], 16, free),
          readValues(step, pages, [before, written], 20, free),
        ]);
      const earlier = await look();
      // Slots 20 … 22: four slots of page `written` before them stay, and so does everything else.
      await scope.step((step) => {
        storeRows(step, pages, [before, written], 20, draw.normal(3 * stored));
        return [];
      });
      for (const [i, values] of (await look()).entries()) assertSameBits(values, earlier[i], `look ${i}`);
    },
  );
}

testEach("createKvPages starts with zeros", async (scope) => {
  const shape = { heads: 2, kvHeads: 2, headDim: 16 };
  const pages = scope.pages(kvShape("f16", shape, 3));
  const [values] = await scope.step((step) => [attendRows(step, pages, [2, 0], 32, new Float32Array(32))]);
  assertSameBits(values, new Float32Array(32), "attention over pages that nothing wrote");
});
