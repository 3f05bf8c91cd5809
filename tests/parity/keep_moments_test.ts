import type { KvDtype } from "../../lib/ops/kv.ts";
import { testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { type KeepSpec, kvKeeps, readRaw } from "../support/keeps.ts";
import { kvMap, kvShape, qkvCols } from "../support/kv.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];
const TOKENS = 23, LAYER = 1;

testParity(
  "keepMoments is mean and squared deviations of all but the first tokens, whichever chunks they come in",
  "reduce",
  pairs(pairs(DTYPES, HEAD_SHAPES.slice(0, 4)), [[23], [2, 21], [4, 1, 18], [12, 11]]),
  async (scope, [[dtype, shape], cuts]) => {
    const { heads, kvHeads, headDim } = shape, cols = qkvCols(shape);
    const draw = new Draw(headDim), words = heads * (headDim + headDim ** 2);
    const described = kvShape(dtype, shape, 1), each = Math.ceil(2 * words / (described.pageBytes / 4));
    const pages = scope.pages(kvShape(dtype, shape, 2 * each + 2)), free = draw.shuffled(2 * each);
    const tables = [0, 1].map(() => free.splice(0, each));
    // Queries of which the mean is far from nothing, one prompt short enough to have a single counted token.
    const rows = draw.normal(TOKENS * cols, 1, 3), others = draw.normal(5 * cols, 2, -1);
    const records: KeepSpec[] = [
      { sequence: 0, table: tables[0], promptTokens: TOKENS, setting: 4 },
      { sequence: 1, table: tables[1], promptTokens: 5, setting: 4 },
    ];
    let stored = 0;
    for (const tokens of cuts) {
      await scope.step((step) => {
        const map = kvMap(step, [
          { tokens, slotBase: [stored, stored], tables: [[2 * each], [2 * each]] },
          { tokens: 5, slotBase: [0, 0], tables: [[2 * each + 1], [2 * each + 1]] },
        ]);
        const own = [...rows.subarray(stored * cols, (stored + tokens) * cols), ...others];
        const qkv = step.upload(tokens + 5, cols, Float32Array.from(own));
        step.keepMoments({ qkv, shape, pages, map, keeps: kvKeeps(step, records), layer: LAYER });
        return [];
      });
      stored += tokens;
    }
    const found = await scope.step((step) => tables.map((table) => readRaw(step, pages, table, 2 * words)));
    return found.map((values) => values.subarray(LAYER * words / kvHeads * kvHeads));
  },
);
