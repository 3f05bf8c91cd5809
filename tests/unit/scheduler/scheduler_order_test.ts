/** Who is served first. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { RequestError } from "../../../lib/core/errors.ts";
import type { GenerateRequest } from "../../../scheduler/messages.ts";
import type { SchedulerLimits } from "../../../scheduler/mod.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { answerTo, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle, until } from "../../support/scripted_service_end.ts";

const PROMPT = "HELLO_THERE";
const NEVER = new AbortController().signal;
const STEP_MS = 10;

/** A service with one seat whose device takes STEP_MS for a step of virtual time and stands still at first. */
function oneSeat(limits: Partial<SchedulerLimits> = {}) {
  const clock = new ManualClock();
  const gate = Promise.withResolvers<void>();
  const service = scriptedService({
    clock,
    behaviour: {
      async delay() {
        await gate.promise;
        clock.advance(STEP_MS);
      },
    },
    scheduler: { limits: { maxNumSeqs: 1, ...limits } },
  });
  const { scheduler } = service;
  const ended: string[] = [];
  const ask = async (name: string, fields: Partial<GenerateRequest> = {}) => {
    const answer = await answerTo(scheduler, requestOf(PROMPT, { id: name, maxTokens: 4, ...fields }));
    ended.push(name);
    return answer;
  };
  return { service, scheduler, clock, ended, ask, open: () => gate.resolve() };
}

Deno.test("createScheduler lets a request of lower priority number overtake those that wait, not the one that runs", async () => {
  const { service, ended, ask, open } = oneSeat();
  const all = [ask("running")];
  await until(() => service.steps.length === 1);
  all.push(ask("first"), ask("second"), ask("urgent", { priority: -1 }), ask("patient", { priority: 1 }));
  open();
  await Promise.all(all);
  assert.deepEqual(ended, ["running", "urgent", "first", "second", "patient"]);
  await closeIdle(service);
});

Deno.test("createScheduler lets a request be overtaken only by those that come within its head start", async () => {
  const { service, clock, ended, ask, open } = oneSeat();
  const all = [ask("running")];
  await until(() => service.steps.length === 1);
  all.push(ask("patient"));
  for (let second = 1; second <= 20; second++) {
    clock.advance(1000);
    all.push(ask(`urgent ${second}`, { priority: -1, tenant: `${second}` }));
  }
  open();
  await Promise.all(all);
  // A step of priority is worth ten seconds of waiting; the tie goes to who came first.
  assert.equal(ended.indexOf("patient"), 10);
  await closeIdle(service);
});

Deno.test("createScheduler puts the few requests of one tenant between the many of another", async () => {
  const { service, ended, ask, open } = oneSeat();
  open();
  // The time between two that leave is learnt from these.
  await Promise.all([1, 2, 3, 4].map((index) => ask(`warm ${index}`, { tenant: `warm ${index}` })));
  ended.length = 0;
  const flood = Array.from({ length: 20 }, (_, index) => ask(`flood ${index}`, { tenant: "flood" }));
  const few = Array.from({ length: 3 }, (_, index) => ask(`few ${index}`, { tenant: "few" }));
  await Promise.all([...flood, ...few]);
  const places = [0, 1, 2].map((index) => ended.indexOf(`few ${index}`));
  assert.deepEqual(places, [1, 3, 5], ended.join(", "));
  await closeIdle(service);
});

Deno.test("createScheduler fails whoever waited past the queue's deadline, and nobody else", async () => {
  const { service, clock, ask, open } = oneSeat({ queueTimeoutMs: 1000 });
  const running = ask("running");
  await until(() => service.steps.length === 1);
  const late = ask("late");
  clock.advance(999);
  const fresh = ask("fresh");
  await setImmediate();
  clock.advance(1);
  const { end } = await late;
  assert(end.type === "failed");
  assert.equal(end.error.code, "queue_timeout");
  open();
  assert.equal((await running).end.type, "finished");
  assert.equal((await fresh).end.type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler refuses by the number of those that wait, and says when they will have gone", async () => {
  const { service, scheduler, ask, open } = oneSeat({ waitingRequestsMax: 12 });
  open();
  // One prefill and 99 decode steps of 10 ms: a request leaves every second.
  await Promise.all([1, 2, 3].map((index) => ask(`warm ${index}`, { maxTokens: 100 })));
  const waiting = Array.from({ length: 12 }, (_, index) => ask(`waiting ${index}`, { maxTokens: 1 }));
  let refusal: RequestError | null = null;
  try {
    scheduler.submit(requestOf(PROMPT), NEVER);
  } catch (error) {
    refusal = error as RequestError;
  }
  assert.equal(refusal?.code, "rate_limit_exceeded");
  assert.equal(scheduler.metrics.refused.requests, 1);
  assert.equal(refusal?.retryAfterSeconds, 12);
  await Promise.all(waiting);
  await closeIdle(service);
});

Deno.test("createScheduler refuses by the prompt tokens that wait, with the time that they take to leave", async () => {
  const { service, scheduler, ask, open } = oneSeat({ waitingTokensMax: 2 * PROMPT.length });
  open();
  await Promise.all([1, 2, 3].map((index) => ask(`warm ${index}`, { maxTokens: 100 })));
  const answers = await Promise.all([1, 2, 3, 4, 5].map((index) => ask(`${index}`, { maxTokens: 100 })));
  const refused = answers.filter(({ end }) => end.type === "failed");
  assert.equal(scheduler.metrics.refused.tokens, refused.length);
  assert(refused.length > 0);
  for (const { end } of refused) {
    assert(end.type === "failed");
    assert.equal(end.error.code, "rate_limit_exceeded");
    // One second each for the one that is refused and two or three others.
    assert(
      end.error.retryAfterSeconds! >= 3 && end.error.retryAfterSeconds! <= 5,
      `${end.error.retryAfterSeconds}`,
    );
  }
  await closeIdle(service);
});

Deno.test("createScheduler lets a lone prompt wait, however long it is", async () => {
  const { service, ask, open } = oneSeat({ waitingTokensMax: 1 });
  open();
  assert.equal((await ask("long")).end.type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler goes on with a prompt that has begun while many before it wait for its pages", async () => {
  // Prompts of 60 tokens in chunks of 16; the pool holds one of them.
  const gate = Promise.withResolvers<void>();
  const service = scriptedService({
    clock: new ManualClock(),
    facts: { pageCount: 40, stepTokensMax: 16 },
    behaviour: { delay: () => gate.promise },
  });
  const begun = answerTo(service.scheduler, requestOf("B".repeat(60), { maxTokens: 4 }));
  await until(() => service.steps.length === 1);
  const urgent = Array.from(
    { length: 70 },
    () => answerTo(service.scheduler, requestOf("A".repeat(60), { maxTokens: 4, priority: -1 })),
  );
  await setImmediate();
  gate.resolve();
  const ends = Promise.all([begun, ...urgent]);
  await until(() => service.scheduler.snapshot().sequences === 0);
  for (const { end } of await ends) assert.equal(end.type, "finished");
  await closeIdle(service);
});
