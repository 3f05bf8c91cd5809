import assert from "node:assert/strict";
import { DrainRate } from "../../../scheduler/drain_rate.ts";

Deno.test("DrainRate says a second while nothing is known", () => {
  const rate = new DrainRate();
  assert.equal(rate.intervalMs, 0);
  assert.equal(rate.retryAfterSeconds(1000), 1);
});

Deno.test("DrainRate tells the whole seconds in which those that wait will have gone", () => {
  const rate = new DrainRate();
  for (const ms of [0, 250, 500]) rate.ended(ms, true);
  assert.equal(rate.intervalMs, 250);
  assert.deepEqual([1, 4, 5, 40].map((waiting) => rate.retryAfterSeconds(waiting)), [1, 1, 2, 10]);
});

Deno.test("DrainRate never sends a client away for longer than a minute", () => {
  const rate = new DrainRate();
  for (const ms of [0, 10_000]) rate.ended(ms, true);
  assert.equal(rate.retryAfterSeconds(1000), 60);
});

Deno.test("DrainRate does not count the gap in which nobody waited", () => {
  const rate = new DrainRate();
  for (const ms of [0, 100]) rate.ended(ms, true);
  rate.ended(200, false);
  rate.ended(900_000, true);
  assert.equal(rate.intervalMs, 100);
  rate.ended(900_200, true);
  assert(rate.intervalMs > 100 && rate.intervalMs < 200, "the newest gap moves the average");
});
