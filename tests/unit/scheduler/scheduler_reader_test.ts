/** Streams whose readers are slow or gone. */
import assert from "node:assert/strict";
import type { GenerateEvent } from "../../../scheduler/messages.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { answerTo, collect, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle, until } from "../../support/scripted_service_end.ts";

const PROMPT = "HELLO_THERE";
const NEVER = new AbortController().signal;

function slowService(readerTimeoutMs: number | null) {
  const clock = new ManualClock();
  const service = scriptedService({
    clock,
    scheduler: { limits: { maxNumSeqs: 8, streamEventsMax: 4, readerTimeoutMs } },
  });
  const stream = service.scheduler.submit(requestOf(PROMPT, { maxTokens: 50 }), NEVER);
  return { clock, service, scheduler: service.scheduler, stream };
}

function endOf(events: readonly GenerateEvent[]): GenerateEvent {
  return events[events.length - 1];
}

Deno.test("createScheduler shows a pause, how often and how long, and lets the others go on", async () => {
  const { clock, service, scheduler, stream } = slowService(null);
  await until(() => scheduler.snapshot().paused === 1);
  assert.equal(scheduler.metrics.readerPauses, 1);
  for (let other = 0; other < 3; other++) {
    assert.equal((await answerTo(scheduler, requestOf("OTHER"))).end.type, "finished");
  }
  assert.equal(scheduler.snapshot().paused, 1);
  clock.advance(2500);
  const events = await collect(stream);
  assert.equal(endOf(events).type, "finished");
  assert.equal(scheduler.metrics.readerPauseSeconds.count, scheduler.metrics.readerPauses);
  assert.equal(scheduler.metrics.readerPauseSeconds.sum, 2.5);
  await closeIdle(service);
});

Deno.test("createScheduler takes the pages of a stream that nobody reads until the deadline", async () => {
  const { clock, service, scheduler, stream } = slowService(1000);
  await until(() => scheduler.snapshot().paused === 1);
  clock.advance(999);
  assert(scheduler.snapshot().pagesUsed > 0);
  clock.advance(1);
  await until(() => scheduler.snapshot().sequences === 0);
  assert.equal(scheduler.snapshot().pagesUsed, 0);
  const end = endOf(await collect(stream));
  assert(end.type === "failed");
  assert.equal(end.error.code, "reader_timeout");
  await closeIdle(service);
});

Deno.test("createScheduler forgets the deadline of a stream that is read again", async () => {
  const { clock, service, scheduler, stream } = slowService(1000);
  await until(() => scheduler.snapshot().paused === 1);
  clock.advance(900);
  await stream.next();
  await until(() => scheduler.metrics.readerPauses === 2);
  clock.advance(900);
  assert.equal(endOf(await collect(stream)).type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler takes the pages of a stream that waits for its reader before it preempts one that runs", async () => {
  // Two sequences of 28 pages a layer at their fullest, in a pool for one and a half.
  const service = scriptedService({
    facts: { pageCount: 84 },
    scheduler: { limits: { maxNumSeqs: 8, streamEventsMax: 64 } },
  });
  const { scheduler } = service;
  const slow = scheduler.submit(requestOf(PROMPT, { maxTokens: 100 }), NEVER);
  await until(() => scheduler.snapshot().paused === 1);
  const running = await answerTo(scheduler, requestOf("ANOTHER_ONE", { maxTokens: 100 }));
  assert.equal(running.ids.length, 100);
  assert.deepEqual([scheduler.metrics.preempted, scheduler.metrics.resumed], [1, 0]);
  const events = await collect(slow);
  assert.equal(events.filter(({ type }) => type === "token").length, 100);
  assert.equal(scheduler.metrics.resumed, 1);
  await closeIdle(service);
});
