import assert from "node:assert/strict";
import { countTests, tally } from "../../support/tally.ts";

Deno.test("countTests reads the last summary with colours, steps and ignored tests", () => {
  const output =
    "a ... ok\n\x1b[0m\x1b[31mFAILED\x1b[0m | 12 passed (3 steps) | 2 failed (1 step) | 1 ignored (7s)\n\n";
  assert.deepEqual(countTests(output), { passed: 12, failed: 2, skipped: 1 });
  assert.deepEqual(countTests("ok | 1 passed | 0 failed (2s)"), { passed: 1, failed: 0, skipped: 0 });
});

Deno.test("countTests finds nothing in a run that ended without a summary", () => {
  assert.equal(countTests("error: Type checking failed.\n"), null);
});

Deno.test("tally names skipped tests only when there are any", () => {
  assert.equal(tally({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
  assert.equal(tally({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
});
