import { testParity } from "../support/backends.ts";
import { Draw, pairs, ROWS, WIDTHS } from "../support/cases.ts";

testParity(
  "gatherRows copies rows in the order asked, repeated ones too",
  "exact",
  pairs(ROWS, WIDTHS),
  async (scope, [count, dim]) => {
    const draw = new Draw(count * dim);
    const rows = draw.integers(count, 7);
    return await scope.step((step) => {
      const out = step.tensor(count, dim);
      step.gatherRows({ x: step.upload(7, dim, draw.normal(7 * dim)), rows: step.indices(rows), out });
      return [out];
    });
  },
);
