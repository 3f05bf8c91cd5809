import assert from "node:assert/strict";
import { StopSignals } from "../../../lib/cli/signals.ts";
import { ManualClock } from "../../support/manual_clock.ts";

Deno.test("StopSignals drains at the first signal and takes what follows within a second for the same key press", () => {
  const clock = new ManualClock();
  const signals = new StopSignals(clock);
  assert.equal(signals.decide("SIGINT"), "drain");
  clock.advance(50);
  assert.equal(signals.decide("SIGINT"), "ignore");
  clock.advance(949);
  assert.equal(signals.decide("SIGINT"), "ignore");
  clock.advance(1);
  assert.equal(signals.decide("SIGINT"), "end");
});

Deno.test("StopSignals ignores a repeated SIGTERM", () => {
  const clock = new ManualClock();
  const signals = new StopSignals(clock);
  assert.equal(signals.decide("SIGTERM"), "drain");
  clock.advance(5_000);
  assert.equal(signals.decide("SIGTERM"), "ignore");
  assert.equal(signals.decide("SIGINT"), "end");
});
