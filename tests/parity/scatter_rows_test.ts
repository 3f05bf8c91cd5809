import { testEach, testParity } from "../support/backends.ts";
import { Draw, pairs, ROWS, WIDTHS } from "../support/cases.ts";
import { assertSameBits, row } from "../support/compare.ts";

const TARGET_ROWS = 40;

testParity(
  "scatterRows writes each row where it belongs and leaves the others",
  "exact",
  pairs(ROWS, WIDTHS),
  async (scope, [count, dim]) => {
    const draw = new Draw(count * dim);
    const rows = Uint32Array.from(draw.shuffled(TARGET_ROWS).slice(0, count));
    return await scope.step((step) => {
      const out = step.upload(TARGET_ROWS, dim, draw.normal(TARGET_ROWS * dim));
      step.scatterRows({
        x: step.upload(count, dim, draw.normal(count * dim)),
        rows: step.indices(rows),
        out,
      });
      return [out];
    });
  },
);

testEach("scatterRows into a persistent tensor is seen by the next step", async (scope) => {
  const dim = 12, store = scope.tensor(5, dim), values = new Draw(1).normal(2 * dim);
  await scope.step((step) => {
    step.scatterRows({
      x: step.upload(2, dim, values),
      rows: step.indices(Uint32Array.of(4, 1)),
      out: store,
    });
    return [];
  });
  const [seen] = await scope.step((step) => {
    const out = step.tensor(3, dim);
    step.gatherRows({ x: store, rows: step.indices(Uint32Array.of(4, 0, 1)), out });
    return [out];
  });
  assertSameBits(row(seen, dim, 0), row(values, dim, 0), "row 4");
  assertSameBits(row(seen, dim, 1), new Float32Array(dim), "row 0, never written");
  assertSameBits(row(seen, dim, 2), row(values, dim, 1), "row 1");
});
