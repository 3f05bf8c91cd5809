import type { KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { type KeepSpec, kvKeeps, prefilled, readRaw } from "../support/keeps.ts";
import { kvShape } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];
const WINDOW = 6, LAYERS = 2;

/** Two prompts beside one that keeps nothing; the first in chunks of `cuts`. Returns what both kept. */
async function kept(
  scope: Scope,
  dtype: KvDtype,
  shape: typeof HEAD_SHAPES[number],
  cuts: readonly number[],
) {
  const { heads, kvHeads, headDim } = shape;
  const draw = new Draw(headDim), pages = scope.pages(kvShape(dtype, shape, 60));
  const free = draw.shuffled(60), words = LAYERS * WINDOW * heads * headDim;
  const tables = [0, 1, 2].map(() => Array.from({ length: LAYERS }, () => free.splice(0, 2)));
  const pageWords = pages.shape.pageBytes / 4;
  const keeps = [0, 1].map(() => free.splice(0, Math.ceil(words / pageWords)));
  const records: KeepSpec[] = [
    { sequence: 0, table: keeps[0], promptTokens: 23, setting: WINDOW },
    { sequence: 2, table: keeps[1], promptTokens: 3, setting: 3 },
  ];
  let stored = 0;
  for (const tokens of cuts) {
    await scope.step((step) => {
      for (let layer = 0; layer < LAYERS; layer++) {
        const rows = new Draw(stored + 100 * layer);
        const { qkv, map } = prefilled(step, rows, pages, shape, [
          { tokens, slotBase: [stored, stored], tables: tables[0] },
          { tokens: 4, slotBase: [0, 0], tables: tables[1] },
          { tokens: 3, slotBase: [0, 0], tables: tables[2] },
        ], layer);
        step.keepQueries({ qkv, shape, pages, map, keeps: kvKeeps(step, records), layer });
      }
      return [];
    });
    stored += tokens;
  }
  return await scope.step((step) => [
    readRaw(step, pages, keeps[0], words),
    readRaw(step, pages, keeps[1], LAYERS * 3 * heads * headDim / kvHeads * kvHeads),
  ]);
}

testParity(
  "keepQueries copies the rotated queries of a prompt's last tokens, whichever chunks they come in",
  "reduce",
  pairs(pairs(DTYPES, HEAD_SHAPES), [[23], [19, 4], [18, 1, 4]]),
  (scope, [[dtype, shape], cuts]) => kept(scope, dtype, shape, cuts),
);

testEach("keepQueries leaves stored keys and values as they were", async (scope) => {
  const shape = HEAD_SHAPES[1], draw = new Draw(3), pages = scope.pages(kvShape("f16", shape, 12));
  const words = pages.shape.pageBytes / 4;
  const look = (step: Parameters<typeof readRaw>[0]) =>
    [0, 1, 2, 3].map((page) => readRaw(step, pages, [page], words));
  const before = await scope.step((step) => {
    const { qkv, map } = prefilled(step, draw, pages, shape, [{
      tokens: 20,
      slotBase: [0],
      tables: [[2, 0]],
    }], 0);
    const keeps = kvKeeps(step, [{ sequence: 0, table: [4, 7, 5, 6], promptTokens: 20, setting: 8 }]);
    const raw = look(step);
    step.keepQueries({ qkv, shape, pages, map, keeps, layer: 0 });
    return raw;
  });
  const after = await scope.step(look);
  for (const [page, values] of after.entries()) assertSameBits(values, before[page], `page ${page}`);
});
