import type { KvDtype } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs, randomRotary } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, type JobSpec, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"];

testParity(
  "kvGather copies each head's own slots, keys and values, of jobs of different lengths",
  "reduce",
  pairs(DTYPES, HEAD_SHAPES),
  async (scope, [dtype, shape]) => {
    const { kvHeads, headDim } = shape;
    const draw = new Draw(headDim), free = draw.shuffled(24);
    const pages = scope.pages(kvShape(dtype, shape, 24));
    const take = (slots: number) => free.splice(0, Math.ceil(slots / 16));
    const jobs: JobSpec[] = [[1, 1], [40, 8], [70, 33], [16, 16]].map(([slots, kept]) => (
      { slots, kept, source: take(slots), target: take(kept) }
    ));
    const keptMax = 33;
    const kept = new Uint32Array(jobs.length * kvHeads * keptMax);
    for (let r = 0; r < jobs.length * kvHeads; r++) {
      const { slots, kept: count } = jobs[Math.floor(r / kvHeads)];
      kept.set(draw.shuffled(slots).slice(0, count).sort((a, b) => a - b), r * keptMax);
    }
    const queries = draw.normal(2 * kvHeads * headDim);
    return await scope.step((step) => {
      for (const { slots, source } of jobs) {
        const rows = draw.normal(slots * 2 * kvHeads * headDim);
        storeRows(step, pages, source, 0, dtype === "f16" ? rows.map(Math.f16round) : rows);
      }
      step.kvGather({
        pages,
        jobs: kvJobs(step, jobs),
        kept: step.uploadIndices(jobs.length * kvHeads, keptMax, kept),
      });
      return jobs.map(({ kept, target }) => attendRows(step, pages, target, kept, queries));
    });
  },
);

testParity(
  "kvGather with angles turns keys from the position of their slot to that of their rank",
  "f16",
  pairs(DTYPES, HEAD_SHAPES),
  async (scope, [dtype, shape]) => {
    const { kvHeads, headDim } = shape;
    const draw = new Draw(headDim), free = draw.shuffled(24), pages = scope.pages(kvShape(dtype, shape, 24));
    const job: JobSpec = { slots: 70, kept: 33, source: free.splice(0, 5), target: free.splice(0, 3) };
    const kept = Array.from({ length: kvHeads }, () => draw.shuffled(70).slice(0, 33).sort((a, b) => a - b));
    const queries = draw.normal(2 * kvHeads * headDim);
    return await scope.step((step) => {
      storeRows(step, pages, job.source, 0, draw.normal(70 * 2 * kvHeads * headDim));
      step.kvGather({
        pages,
        jobs: kvJobs(step, [job]),
        kept: step.uploadIndices(kvHeads, 33, Uint32Array.from(kept.flat())),
        rotary: step.upload(70, headDim, randomRotary(draw, 70, headDim)),
      });
      return [
        attendRows(step, pages, job.target, 33, queries),
        readValues(step, pages, job.target, 1, free),
      ];
    });
  },
);

for (const dtype of DTYPES) {
  testEach(
    `kvGather of ${dtype} copies bits, and leaves its source and all other pages as they were`,
    async (scope) => {
      const shape = { heads: 2, kvHeads: 2, headDim: 32 }, width = 64;
      const draw = new Draw(9), free = draw.shuffled(40);
      const pages = scope.pages(kvShape(dtype, shape, 40));
      const source = free.splice(0, 2), target = free.splice(0, 1), other = free.splice(0, 1);
      const rows = draw.normal(32 * 2 * width), query = draw.normal(width);
      await scope.step((step) => {
        storeRows(step, pages, source, 0, rows);
        storeRows(step, pages, target, 0, draw.normal(16 * 2 * width));
        storeRows(step, pages, other, 0, draw.normal(16 * 2 * width));
        return [];
      });
      const look = () =>
        scope.step((step) => [
          readValues(step, pages, source, 32, free),
          readValues(step, pages, other, 16, free),
          attendRows(step, pages, source, 32, query),
          attendRows(step, pages, other, 16, query),
        ]);
      const earlier = await look();
      const picked = [0, 3, 15, 16, 31];
      await scope.step((step) => {
        const jobs = kvJobs(step, [{ slots: 32, kept: picked.length, source, target }]);
        const kept = step.uploadIndices(2, picked.length, Uint32Array.of(...picked, ...picked));
        step.kvGather({ pages, jobs, kept });
        return [];
      });
      const later = await look();
      for (const [i, values] of later.entries()) assertSameBits(values, earlier[i], `look ${i}`);
      const [copied] = await scope.step((step) => [readValues(step, pages, target, picked.length, free)]);
      for (const [i, slot] of picked.entries()) {
        assertSameBits(
          copied.subarray(i * width, (i + 1) * width),
          earlier[0].subarray(slot * width, (slot + 1) * width),
          `slot ${slot} in slot ${i}`,
        );
      }
    },
  );
}
