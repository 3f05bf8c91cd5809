import assert from "node:assert/strict";
import type { RequestError } from "../../../lib/core/errors.ts";
import { type DeadlineLimits, Deadlines } from "../../../scheduler/deadlines.ts";
import { SchedulerMetrics } from "../../../scheduler/metrics.ts";
import type { Sequence } from "../../../scheduler/sequence.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { arrived } from "../../support/sequences.ts";

function deadlinesOf(limits: Partial<DeadlineLimits>) {
  const clock = new ManualClock();
  const metrics = new SchedulerMetrics();
  const failed: { sequence: Sequence; error: RequestError }[] = [];
  const deadlines = new Deadlines(
    clock,
    metrics,
    { queueMs: null, readerMs: null, ...limits },
    (sequence, error) => failed.push({ sequence, error }),
  );
  return { clock, metrics, failed, deadlines };
}

Deno.test("Deadlines fails who has waited in the queue for too long, and nobody who has begun", () => {
  const { clock, failed, deadlines } = deadlinesOf({ queueMs: 1500 });
  const late = arrived(), begun = arrived(), left = arrived();
  for (const sequence of [late, begun, left]) deadlines.waits(sequence);
  deadlines.begun(begun);
  deadlines.left(left);
  clock.advance(1499);
  assert.equal(failed.length, 0);
  clock.advance(1);
  assert.deepEqual(failed.map(({ sequence }) => sequence === late), [true]);
  assert.equal(failed[0].error.code, "queue_timeout");
  assert.match(failed[0].error.message, /1\.5 s/);
  assert.equal(clock.timers, 0);
});

Deno.test("Deadlines fails a stream that nobody reads, and not one that is read again in time", () => {
  const { clock, metrics, failed, deadlines } = deadlinesOf({ readerMs: 1000 });
  const slow = arrived(), dead = arrived();
  deadlines.pauses(slow);
  deadlines.pauses(dead);
  clock.advance(999);
  deadlines.resumes(slow);
  clock.advance(1);
  assert.deepEqual(failed.map(({ sequence }) => sequence === dead), [true]);
  assert.equal(failed[0].error.code, "reader_timeout");
  deadlines.left(dead);
  assert.equal(metrics.readerPauses, 2);
  assert.deepEqual([metrics.readerPauseSeconds.count, metrics.readerPauseSeconds.sum], [2, 1.999]);
});

Deno.test("Deadlines counts a pause once, from its beginning, until it ends", () => {
  const { clock, metrics, failed, deadlines } = deadlinesOf({ readerMs: 1000 });
  const sequence = arrived();
  deadlines.pauses(sequence);
  clock.advance(600);
  deadlines.pauses(sequence);
  clock.advance(400);
  assert.equal(failed.length, 1, "a second note of the same pause does not prolong it");
  deadlines.resumes(sequence);
  deadlines.resumes(sequence);
  assert.deepEqual([metrics.readerPauses, metrics.readerPauseSeconds.count], [1, 1]);
});

Deno.test("Deadlines without limits makes no timers and counts pauses all the same", () => {
  const { clock, metrics, deadlines } = deadlinesOf({});
  const sequence = arrived();
  deadlines.waits(sequence);
  deadlines.pauses(sequence);
  assert.equal(clock.timers, 0);
  assert.equal(metrics.readerPauses, 1);
});
