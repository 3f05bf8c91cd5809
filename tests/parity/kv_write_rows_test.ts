import type { KvDtype, KvPart } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES } from "../support/cases.ts";
import { assertSameBits, type Numbers } from "../support/compare.ts";
import { attendRows, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";
import { groupsOf, layout } from "../support/kv_groups.ts";

const PARTS: readonly KvPart[] = ["key", "value"];
const DTYPES: readonly KvDtype[] = ["f16", "f32"];

for (const dtype of DTYPES) {
  testParity(
    `kvWriteRows stores a row a head in its target slot, ${dtype} pages`,
    dtype === "f16" ? "f16" : "reduce",
    HEAD_SHAPES,
    (scope, shape): Promise<Numbers[]> => {
      const { kvHeads, headDim } = shape;
      const draw = new Draw(headDim), { jobs, free } = layout(draw, 50);
      const pages = scope.pages(kvShape(dtype, shape, 50));
      const queries = draw.normal(2 * kvHeads * headDim);
      return scope.step((step) => {
        for (const { target } of jobs) {
          storeRows(step, pages, target, 0, draw.normal(20 * 2 * kvHeads * headDim));
        }
        const groups = step.indices(groupsOf(1)), packed = kvJobs(step, jobs);
        for (const part of PARTS) {
          const values = draw.normal(5 * kvHeads * headDim, 3);
          const x = step.upload(5 * kvHeads, headDim, values);
          step.kvWriteRows({ pages, jobs: packed, groups, layer: 1, part, x });
        }
        return jobs.flatMap(({ target }) => [
          attendRows(step, pages, target, 20, queries),
          readValues(step, pages, target, 20, free),
        ]);
      });
    },
  );

  testEach(
    `kvReadRows finds what kvWriteRows stored in ${dtype} pages, and nothing else changed`,
    async (scope) => {
      const shape = { heads: 2, kvHeads: 2, headDim: 16 };
      const draw = new Draw(9), { jobs } = layout(draw, 40);
      const pages = scope.pages(kvShape(dtype, shape, 40));
      // Targets become sources, so that they can be read.
      const turned = jobs.map(({ source, target }) => ({
        slots: 20,
        kept: 20,
        source: target,
        target: source,
      }));
      const x = draw.normal(5 * 2 * 16).map(Math.f16round),
        stored = draw.normal(20 * 2 * 32).map(Math.f16round);
      const all = Uint32Array.from(Array.from({ length: 20 }, (_, slot) => [2, slot, slot]).flat());
      const [written, before, after] = await scope.step((step) => {
        for (const { target } of jobs) storeRows(step, pages, target, 0, stored);
        const packed = kvJobs(step, jobs), readable = kvJobs(step, turned);
        const look = () => {
          const out = step.tensor(20 * 2, 16);
          step.kvReadRows({ pages, jobs: readable, groups: step.indices(all), layer: 1, part: "key", out });
          return out;
        };
        const before = look();
        const groups = step.indices(groupsOf(1));
        step.kvWriteRows({ pages, jobs: packed, groups, layer: 1, part: "key", x: step.upload(10, 16, x) });
        const out = step.tensor(2, 16);
        const first = step.indices(Uint32Array.of(2, 19, 0));
        step.kvReadRows({ pages, jobs: readable, groups: first, layer: 1, part: "key", out });
        return [out, before, look()];
      });
      assertSameBits(written, x.subarray(2 * 16, 4 * 16), "slot 19 of the second sequence");
      const expected = before.slice();
      expected.set(x.subarray(2 * 16, 4 * 16), 19 * 32);
      expected.set(x.subarray(6 * 16, 8 * 16), 0);
      expected.set(x.subarray(8 * 16, 10 * 16), 17 * 32);
      assertSameBits(after, expected, "all slots");
    },
  );
}
