import assert from "node:assert/strict";
import { isSteady, mustMeasureAgain } from "../../../bench/pace.ts";

Deno.test("isSteady: a tenth below the best before and after a cell is another machine, on one side a spell", () => {
  assert.ok(isSteady([58, 57], 58));
  assert.ok(isSteady([58, 29], 58));
  assert.ok(isSteady([29, 53], 58));
  assert.ok(!isSteady([50, 51], 58));
});

Deno.test("mustMeasureAgain: an unsteady attempt, twice at most, and none that takes minutes", () => {
  const readings = [[58, 57], [40, 41]] as const;
  const attempt = { readings, best: 58, tries: 1, elapsedMs: 5000 };
  assert.ok(mustMeasureAgain(attempt));
  assert.ok(mustMeasureAgain({ ...attempt, tries: 2 }));
  assert.ok(!mustMeasureAgain({ ...attempt, tries: 3 }));
  assert.ok(!mustMeasureAgain({ ...attempt, elapsedMs: 120_000 }));
  assert.ok(!mustMeasureAgain({ ...attempt, readings: [[58, 57], [40, 57]] }));
});
