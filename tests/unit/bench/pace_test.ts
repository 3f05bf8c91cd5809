import assert from "node:assert/strict";
import { isSteady, mustMeasureAgain } from "../../../bench/pace.ts";

Deno.test("isSteady: no reading is more than a tenth below the best", () => {
  assert.ok(isSteady([58, 57, 53], 58));
  assert.ok(!isSteady([58, 52, 58], 58));
  assert.ok(!isSteady([29, 29], 58), "steady by itself, and half of the machine");
});

Deno.test("mustMeasureAgain: an unsteady attempt, twice at most, and none that takes minutes", () => {
  const attempt = { readings: [58, 40], best: 58, tries: 1, elapsedMs: 5000 };
  assert.ok(mustMeasureAgain(attempt));
  assert.ok(mustMeasureAgain({ ...attempt, tries: 2 }));
  assert.ok(!mustMeasureAgain({ ...attempt, tries: 3 }));
  assert.ok(!mustMeasureAgain({ ...attempt, elapsedMs: 120_000 }));
  assert.ok(!mustMeasureAgain({ ...attempt, readings: [58, 57] }));
});
