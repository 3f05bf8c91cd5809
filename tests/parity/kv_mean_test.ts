import type { KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, type JobSpec, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];
/** Stored slots: less than a group, whole groups, groups and a remainder, several pages. */
const LENGTHS = [1, 4, 10, 23, 65];

async function pooled(scope: Scope, dtype: KvDtype, factor: number, shape: typeof HEAD_SHAPES[number]) {
  const { kvHeads, headDim } = shape;
  const draw = new Draw(factor * headDim), free = draw.shuffled(70);
  const pages = scope.pages(kvShape(dtype, shape, 70));
  const take = (slots: number) => free.splice(0, Math.ceil(slots / 16));
  const jobs: JobSpec[] = LENGTHS.map((slots) => {
    const kept = Math.floor(slots / factor) + slots % factor;
    return { slots, kept, source: take(slots), target: take(kept) };
  });
  const queries = draw.normal(2 * kvHeads * headDim);
  return await scope.step((step) => {
    for (const { slots, source } of jobs) {
      storeRows(step, pages, source, 0, draw.normal(slots * 2 * kvHeads * headDim));
    }
    step.kvMean({ pages, jobs: kvJobs(step, jobs), factor });
    return jobs.flatMap(({ kept, target }) => [
      attendRows(step, pages, target, kept, queries),
      readValues(step, pages, target, kept, free),
    ]);
  });
}

testParity(
  "kvMean averages groups of keys and of values and keeps the remainder, f32 pages",
  "reduce",
  pairs([2, 3, 4, 5, 10], HEAD_SHAPES.slice(0, 3)),
  (scope, [factor, shape]) => pooled(scope, "f32", factor, shape),
);

testParity(
  "kvMean averages groups of keys and of values and keeps the remainder, f16 pages",
  "f16",
  pairs([2, 5], HEAD_SHAPES),
  (scope, [factor, shape]) => pooled(scope, "f16", factor, shape),
);

for (const dtype of DTYPES) {
  testEach(`kvMean of ${dtype} leaves its source and all other pages as they were`, async (scope) => {
    const shape = { heads: 1, kvHeads: 1, headDim: 16 };
    const draw = new Draw(4), free = draw.shuffled(40);
    const pages = scope.pages(kvShape(dtype, shape, 40));
    const source = free.splice(0, 2), target = free.splice(0, 1), other = free.splice(0, 1);
    await scope.step((step) => {
      storeRows(step, pages, source, 0, draw.normal(23 * 32));
      storeRows(step, pages, other, 0, draw.normal(16 * 32));
      return [];
    });
    const look = () =>
      scope.step((step) => [
        readValues(step, pages, source, 23, free),
        readValues(step, pages, other, 16, free),
        attendRows(step, pages, source, 23, new Float32Array(16).fill(1)),
        attendRows(step, pages, other, 16, new Float32Array(16).fill(1)),
      ]);
    const earlier = await look();
    await scope.step((step) => {
      step.kvMean({ pages, jobs: kvJobs(step, [{ slots: 23, kept: 4 + 3, source, target }]), factor: 5 });
      return [];
    });
    for (const [i, values] of (await look()).entries()) assertSameBits(values, earlier[i], `look ${i}`);
  });
}
