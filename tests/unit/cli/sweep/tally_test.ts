import assert from "node:assert/strict";
import { emptyTally, pairedDifference, sumOf } from "../../../../lib/cli/sweep/tally.ts";

Deno.test("pairedDifference is the mean of differences with 1.96 standard errors, as from single answers", () => {
  // 100 questions: 8 answers got worse and 3 better.
  const answers = [...Array(8).fill(-1), ...Array(3).fill(1), ...Array(89).fill(0)];
  const mean = answers.reduce((sum, x) => sum + x, 0) / 100;
  const variance = answers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 100;
  const found = pairedDifference({ ...emptyTally(), questions: 100, onlyFull: 8, onlyCell: 3 });
  assert.ok(Math.abs(found.mean - mean) < 1e-12);
  assert.ok(Math.abs(found.half - 1.96 * Math.sqrt(variance / 100)) < 1e-12);
});

Deno.test("sumOf adds every count", () => {
  const one = { ...emptyTally(), questions: 2, right: 1, storedSlots: 16.5 };
  assert.deepEqual(sumOf([one, one]), { ...emptyTally(), questions: 4, right: 2, storedSlots: 33 });
});
