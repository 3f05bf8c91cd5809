import assert from "node:assert/strict";
import { StageTimer } from "../../../scheduler/stage_timer.ts";

Deno.test("StageTimer tells work from waiting, and adds up what is visited again", () => {
  const timer = new StageTimer();
  timer.enter("intake", 100);
  timer.begin(103);
  timer.end(104);
  timer.enter("decode", 104);
  timer.begin(110);
  timer.end(115);
  timer.enter("decode", 115);
  timer.begin(116);
  timer.end(120);
  timer.leave(121);
  assert.deepEqual(timer.timings(), {
    intake: { wait_ms: 3, run_ms: 1 },
    decode: { wait_ms: 6 + 1 + 1, run_ms: 5 + 4 },
  });
});

Deno.test("StageTimer counts overlapping work once", () => {
  const timer = new StageTimer();
  timer.enter("encode", 0);
  timer.begin(1);
  timer.begin(2);
  timer.end(5);
  timer.end(9);
  timer.leave(10);
  assert.deepEqual(timer.timings(), { encode: { wait_ms: 2, run_ms: 8 } });
});

Deno.test("StageTimer cuts work off when a stage is left in its course", () => {
  const timer = new StageTimer();
  timer.enter("prefill", 0);
  timer.begin(1);
  timer.leave(4);
  timer.leave(9);
  assert.deepEqual(timer.timings(), { prefill: { wait_ms: 1, run_ms: 3 } });
});
