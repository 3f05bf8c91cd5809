import type { KvDtype, KvPart } from "../../lib/ops/kv.ts";
import { testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import type { Numbers } from "../support/compare.ts";
import { kvJobs, kvShape, storeRows } from "../support/kv.ts";
import { groupsOf, layout } from "../support/kv_groups.ts";

const PARTS: readonly KvPart[] = ["key", "value"];
const DTYPES: readonly KvDtype[] = ["f16", "f32"];

testParity(
  "kvReadRows lays consecutive slots of each head end to end, as stored",
  "exact",
  pairs(pairs(DTYPES, PARTS), pairs([1, 2, 5, 10], HEAD_SHAPES)),
  (scope, [[dtype, part], [count, shape]]): Promise<Numbers[]> => {
    const { kvHeads, headDim } = shape;
    const draw = new Draw(count * headDim), { jobs } = layout(draw, 40);
    const pages = scope.pages(kvShape(dtype, shape, 40));
    return scope.step((step) => {
      for (const { slots, source } of jobs) {
        const rows = draw.normal(slots * 2 * kvHeads * headDim);
        storeRows(step, pages, source, 0, dtype === "f16" ? rows.map(Math.f16round) : rows);
      }
      const groups = step.indices(groupsOf(count)), packed = kvJobs(step, jobs);
      return [0, 1].map((layer) => {
        const out = step.tensor(5 * kvHeads, count * headDim);
        step.kvReadRows({ pages, jobs: packed, groups, layer, part, out });
        return out;
      });
    });
  },
);
