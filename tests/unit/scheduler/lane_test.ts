import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { AssertionError } from "../../../lib/core/assert.ts";
import { StageCosts } from "../../../scheduler/costs.ts";
import { Lane, type Outcome } from "../../../scheduler/lane.ts";
import { SchedulerMetrics } from "../../../scheduler/metrics.ts";
import type { BatchingStage } from "../../../scheduler/window.ts";
import { ManualClock } from "../../support/manual_clock.ts";

const ONE = { items: 1, size: 1 };

function laneOf(known: Partial<Record<BatchingStage, number>> = {}) {
  const clock = new ManualClock();
  const metrics = new SchedulerMetrics();
  const costs = new StageCosts();
  for (const [stage, ms] of Object.entries(known)) costs.observe(stage as BatchingStage, 1, ms);
  const failures: string[] = [];
  const lane = new Lane(clock, metrics, costs, (stage, error) => failures.push(`${stage} ${error}`));
  const ended: { stage: BatchingStage; outcome: Outcome<void>; endedMs: number }[] = [];
  /** Hands a step over; returns what ends it. */
  const hand = (stage: BatchingStage) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    lane.run(stage, ONE, () => promise, (outcome, endedMs) => ended.push({ stage, outcome, endedMs }));
    return {
      end: async () => {
        resolve();
        await setImmediate();
      },
      fail: async () => {
        reject(new Error("broken"));
        await setImmediate();
      },
    };
  };
  return { clock, metrics, costs, lane, failures, ended, hand };
}

Deno.test("Lane opens for a second step shortly before the first is expected to end", () => {
  const { clock, lane, hand } = laneOf({ prefill: 50 });
  assert.equal(lane.opensInMs(clock.now()), 0);
  hand("prefill");
  assert.equal(lane.opensInMs(clock.now()), 47);
  clock.advance(40);
  assert.equal(lane.opensInMs(clock.now()), 7);
  clock.advance(60);
  assert.equal(lane.opensInMs(clock.now()), 0);
  hand("decode");
  assert.equal(lane.opensInMs(clock.now()), Infinity);
  assert.throws(() => hand("decode"), AssertionError);
});

Deno.test("Lane opens at once behind a step of which nothing is known", () => {
  const { clock, lane, hand } = laneOf();
  hand("prefill");
  assert.equal(lane.opensInMs(clock.now()), 0);
});

Deno.test("Lane.remainingMs counts what is left of the first step and all of the second", async () => {
  const { clock, lane, hand } = laneOf({ prefill: 50, decode: 10 });
  const first = hand("prefill");
  clock.advance(45);
  hand("decode");
  assert.equal(lane.remainingMs(clock.now()), 15);
  clock.advance(5);
  await first.end();
  assert.equal(lane.remainingMs(clock.now()), 10);
  clock.advance(4);
  assert.equal(lane.remainingMs(clock.now()), 6);
});

Deno.test("Lane measures a step from the end of the one before it, not from when it was handed over", async () => {
  const { clock, costs, metrics, ended, hand } = laneOf();
  const first = hand("encode");
  const second = hand("prefill");
  clock.advance(30);
  await first.end();
  clock.advance(12);
  await second.end();
  assert.deepEqual([costs.predict("encode", 1), costs.predict("prefill", 1)], [30, 12]);
  assert.deepEqual(ended.map(({ endedMs }) => endedMs), [30, 42]);
  assert.equal(metrics.stepSeconds.prefill.sum, 0.012);
  assert.equal(metrics.batchItems.encode.count, 1);
});

Deno.test("Lane knows whether it decodes and how many other steps came since", async () => {
  const { lane, hand } = laneOf();
  assert.deepEqual([lane.inFlight, lane.decoding, lane.foreignSteps], [null, false, 0]);
  const encode = hand("encode");
  const prefill = hand("prefill");
  assert.deepEqual([lane.inFlight, lane.decoding, lane.foreignSteps], ["prefill", false, 2]);
  await encode.end();
  const decode = hand("decode");
  assert.deepEqual([lane.inFlight, lane.decoding, lane.foreignSteps], ["decode", true, 0]);
  await prefill.end();
  await decode.end();
  assert.deepEqual([lane.inFlight, lane.decoding, lane.foreignSteps], [null, false, 0]);
});

Deno.test("Lane reports a step that fails, learns nothing from it, and goes on", async () => {
  const { clock, lane, costs, metrics, failures, ended, hand } = laneOf({ compress: 5 });
  const failing = hand("compress");
  clock.advance(1000);
  await failing.fail();
  assert.deepEqual(failures, ["compress Error: broken"]);
  assert.equal(metrics.stepFailures.compress, 1);
  assert.deepEqual(ended.map(({ outcome }) => outcome), [{ ok: false }]);
  assert.equal(costs.predict("compress", 1), 5);
  assert.equal(lane.opensInMs(clock.now()), 0);
});

Deno.test("Lane.idle resolves when the last step has ended", async () => {
  const { lane, hand } = laneOf();
  await lane.idle();
  const first = hand("prefill");
  const second = hand("prefill");
  let idle = false;
  const waiting = lane.idle().then(() => idle = true);
  await first.end();
  assert.equal(idle, false);
  await second.end();
  await waiting;
  assert.equal(idle, true);
});
