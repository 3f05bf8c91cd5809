import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";
import { promptJobs } from "../support/prompts.ts";

const keptOf = (slots: number) => Math.ceil(slots / 3);

testParity(
  "kvMerge folds what goes, half way, into the most similar of what stays",
  "f16",
  pairs(["f16", "f32"] as const, HEAD_SHAPES),
  async (scope, [dtype, shape]) => {
    const { kvHeads, headDim } = shape, draw = new Draw(headDim);
    const prompts = promptJobs(scope, dtype, shape, () => 0, keptOf), { pages } = prompts;
    return await scope.step((step) => {
      const jobs = prompts.prefill(step, () => 0, () => {});
      const table = new Uint32Array(jobs.jobs * kvHeads * jobs.keptMax);
      for (let row = 0; row < jobs.jobs * kvHeads; row++) {
        const { slots, kept } = prompts.jobs[Math.floor(row / kvHeads)];
        table.set(draw.shuffled(slots).slice(0, kept).sort((a, b) => a - b), row * jobs.keptMax);
      }
      step.kvMerge({ pages, jobs, kept: step.uploadIndices(jobs.jobs * kvHeads, jobs.keptMax, table) });
      const queries = draw.normal(2 * kvHeads * headDim);
      return prompts.jobs.map(({ kept, target }) => attendRows(step, pages, target, kept, queries));
    });
  },
);

testEach("kvMerge leaves its source and all other pages as they were", async (scope) => {
  const shape = { heads: 1, kvHeads: 1, headDim: 16 };
  const draw = new Draw(4), free = draw.shuffled(40), pages = scope.pages(kvShape("f16", shape, 40));
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
    const jobs = kvJobs(step, [{ slots: 23, kept: 3, source, target }]);
    step.kvMerge({ pages, jobs, kept: step.uploadIndices(1, 3, Uint32Array.of(2, 9, 22)) });
    return [];
  });
  for (const [i, values] of (await look()).entries()) assertSameBits(values, earlier[i], `look ${i}`);
});
