import type { KvDtype } from "../../lib/ops/kv.ts";
import { testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { type KeepSpec, kvKeeps, prefilled, readRaw } from "../support/keeps.ts";
import { kvShape } from "../support/kv.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];

testParity(
  "keepColumns is the attention of all queries by slot, whichever chunks they come in",
  "f16",
  pairs(pairs(DTYPES, HEAD_SHAPES), [[71], [40, 31], [16, 1, 54]]),
  async (scope, [[dtype, shape], cuts]) => {
    const { kvHeads, headDim } = shape, tokensAll = 71;
    const draw = new Draw(headDim), pages = scope.pages(kvShape(dtype, shape, 40)), free = draw.shuffled(40);
    const tables = [0, 1].map(() => free.splice(0, 5)), keeps = [0, 1].map(() => free.splice(0, 1));
    const records: KeepSpec[] = [
      { sequence: 0, table: keeps[0], promptTokens: tokensAll, setting: 0 },
      { sequence: 1, table: keeps[1], promptTokens: 3, setting: 0 },
    ];
    let stored = 0;
    for (const tokens of cuts) {
      await scope.step((step) => {
        const { qkv, map } = prefilled(step, new Draw(stored), pages, shape, [
          { tokens, slotBase: [stored], tables: [tables[0]] },
          { tokens: 3, slotBase: [0], tables: [tables[1]] },
        ], 0);
        const scale = 1 / Math.sqrt(headDim);
        step.keepColumns({ qkv, shape, scale, pages, map, keeps: kvKeeps(step, records), layer: 0 });
        return [];
      });
      stored += tokens;
    }
    return await scope.step((step) => [
      readRaw(step, pages, keeps[0], tokensAll * kvHeads),
      readRaw(step, pages, keeps[1], 3 * kvHeads),
    ]);
  },
);
