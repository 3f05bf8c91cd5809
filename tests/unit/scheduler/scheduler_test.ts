import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { RequestError } from "../../../lib/core/errors.ts";
import type { ContentPart, GenerateEvent } from "../../../scheduler/messages.ts";
import { defaultWindows } from "../../../scheduler/mod.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { expectedTokens } from "../../support/scripted_engine.ts";
import { answerTo, collect, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle, until } from "../../support/scripted_service_end.ts";
import { BAD_PIXELS, characterOf, ScriptedText } from "../../support/scripted_text.ts";
import { compressionBy } from "../../support/compressions.ts";

const PROMPT = "HELLO_THERE";
const NEVER = new AbortController().signal;

const picture = (...bytes: number[]): ContentPart => ({
  type: "image",
  bytes: Uint8Array.from(bytes),
  param: "messages[0].content[0].image_url.url",
});

function expected(text: string, kept: number | null = null, maxTokens = 8): number[] {
  const prompt = new ScriptedText().encode(text, "chat", []);
  return expectedTokens({ layers: 2, vocab: 64, prompt, kept, seed: 7, maxTokens });
}

Deno.test("createScheduler answers a lone request without waiting for any window", async () => {
  const windows = defaultWindows(8, 64, false);
  const slow = Object.fromEntries(
    Object.entries(windows).map(([stage, window]) => [stage, { ...window, waitMs: 1e6 }]),
  ) as unknown as typeof windows;
  // The clock stands still: whoever waited for it would wait for ever.
  const service = scriptedService({ clock: new ManualClock(), scheduler: { windows: slow } });
  const request = requestOf([picture(1), { type: "text", text: PROMPT }], {
    compression: compressionBy("knorm", 0.5),
    maxTokens: 3,
  });
  const { end } = await answerTo(service.scheduler, request);
  assert.equal(end.type, "finished");
  assert.deepEqual(service.steps, ["encode 1", "prefill 1", "compress 1", "decode 1", "decode 1"]);
  await service.scheduler.drain(0);
  service.scheduler.checkIntegrity();
});

Deno.test("createScheduler ends a completion at its limit and counts its tokens", async () => {
  const service = scriptedService();
  const { ids, text, end } = await answerTo(service.scheduler, requestOf(PROMPT));
  assert.deepEqual(ids, expected(PROMPT));
  assert.equal(text, ids.map(characterOf).join(""));
  assert(end.type === "finished");
  assert.deepEqual([end.reason, end.completionTokens, end.compression], ["length", 8, null]);
  assert.deepEqual(Object.keys(end.timings), ["intake", "prefill", "decode"]);
  await closeIdle(service);
});

Deno.test("createScheduler ends at an end-of-sequence token, which counts but is not text", async () => {
  const eos = expected(PROMPT)[3];
  const service = scriptedService({ model: { eosTokenIds: [eos] } });
  const stopped = await answerTo(service.scheduler, requestOf(PROMPT, { ignoreEos: false }));
  assert(stopped.end.type === "finished");
  assert.deepEqual([stopped.end.reason, stopped.end.completionTokens], ["stop", 4]);
  assert.equal(stopped.text, expected(PROMPT).slice(0, 3).map(characterOf).join(""));
  const ignored = await answerTo(service.scheduler, requestOf(PROMPT));
  assert(ignored.end.type === "finished");
  assert.deepEqual([ignored.end.reason, ignored.end.completionTokens], ["length", 8]);
  await closeIdle(service);
});

Deno.test("createScheduler ends before a stop string and gives back what an unfinished one held", async () => {
  const service = scriptedService();
  const text = expected(PROMPT).map(characterOf).join("");
  const stopped = await answerTo(service.scheduler, requestOf(PROMPT, { stop: [text.slice(2, 5)] }));
  assert(stopped.end.type === "finished");
  assert.deepEqual([stopped.text, stopped.end.reason, stopped.ids.length], [text.slice(0, 2), "stop", 5]);
  const unfinished = await answerTo(service.scheduler, requestOf(PROMPT, { stop: [text.slice(6) + "~~"] }));
  assert(unfinished.end.type === "finished");
  assert.deepEqual([unfinished.text, unfinished.end.reason, unfinished.end.text], [
    text,
    "length",
    text.slice(6),
  ]);
  await closeIdle(service);
});

Deno.test("createScheduler accounts compression in pages of the pool", async () => {
  const service = scriptedService();
  const compression = compressionBy("knorm", 0.5);
  const { ids, end } = await answerTo(service.scheduler, requestOf(PROMPT, { compression }));
  assert.deepEqual(ids, expected(PROMPT, 5));
  assert(end.type === "finished");
  // 11 slots are 3 pages a layer, 5 slots are 2; two layers, 256 bytes a page.
  assert.deepEqual(end.compression, {
    method: "knorm",
    size: { ratio: 0.5 },
    quantise: null,
    reason: "request",
    promptTokens: 11,
    storedTokens: 11,
    keptTokens: 5,
    bytesBefore: 2 * 3 * 256,
    bytesAfter: 2 * 2 * 256,
  });
  await closeIdle(service);
});

Deno.test("createScheduler compresses nothing for a completion that ends with its first token", async () => {
  const service = scriptedService();
  const compression = compressionBy("streaming", 0.5);
  const { end } = await answerTo(service.scheduler, requestOf(PROMPT, { compression, maxTokens: 1 }));
  assert(end.type === "finished" && end.compression !== null);
  const { method, reason, keptTokens, bytesBefore, bytesAfter } = end.compression;
  assert.deepEqual([method, reason, keptTokens, bytesAfter], ["none", "answer_ended", 11, bytesBefore]);
  assert.deepEqual(service.steps, ["prefill 1"]);
  await closeIdle(service);
});

Deno.test("createScheduler tells the text and bytes of log-probabilities", async () => {
  const service = scriptedService();
  const request = requestOf(PROMPT, { maxTokens: 1 });
  const sampling = { ...request.sampling, logprobs: 1 };
  const events = await collect(service.scheduler.submit({ ...request, sampling }, NEVER));
  const [id] = expected(PROMPT);
  const token = events.find((event) => event.type === "token");
  const entry = { id, text: characterOf(id), bytes: [characterOf(id).charCodeAt(0)], logprob: -0.5 };
  assert.deepEqual(token?.logprob, { ...entry, top: [entry] });
  await closeIdle(service);
});

Deno.test("createScheduler batches what comes together and answers each as if it were alone", async () => {
  const service = scriptedService();
  const prompts = Array.from({ length: 8 }, (_, index) => PROMPT.slice(index % 4) + "X".repeat(index % 3));
  const answers = await Promise.all(prompts.map((prompt) => answerTo(service.scheduler, requestOf(prompt))));
  for (const [index, { ids }] of answers.entries()) assert.deepEqual(ids, expected(prompts[index]));
  assert(service.steps.includes("decode 8"), service.steps.join(", "));
  await closeIdle(service);
});

Deno.test("createScheduler encodes a picture once for requests that show it at one time", async () => {
  const service = scriptedService();
  const request = (text: string) => requestOf([picture(1, 2), { type: "text", text }]);
  const answers = await Promise.all(
    ["a", "b", "c"].map((text) => answerTo(service.scheduler, request(text))),
  );
  for (const { end } of answers) assert.equal(end.type, "finished");
  assert.equal(service.images.prepared, 1);
  assert.equal(service.scheduler.metrics.sharedImages, 2);
  await closeIdle(service);
});

Deno.test("createScheduler fails a request whose picture turns out broken, and no other", async () => {
  const service = scriptedService();
  const [broken, good] = await Promise.all([
    answerTo(service.scheduler, requestOf([picture(BAD_PIXELS)])),
    answerTo(service.scheduler, requestOf([picture(1)])),
  ]);
  assert(broken.end.type === "failed");
  assert.deepEqual([broken.end.error.code, broken.end.error.param], [
    "image_parse_error",
    "messages[0].content[0].image_url.url",
  ]);
  assert.equal(good.end.type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler forgets the pixels of a request that is cancelled before the tower gets to it", async () => {
  const gate = Promise.withResolvers<void>();
  const service = scriptedService({
    behaviour: { delay: () => gate.promise },
    scheduler: { limits: { maxNumSeqs: 8, decodedImagesMax: 1 } },
  });
  const { scheduler, images, steps } = service;
  const running = answerTo(scheduler, requestOf(PROMPT));
  await until(() => steps.length === 1);
  const abort = new AbortController();
  const cancelled = collect(scheduler.submit(requestOf([picture(1)]), abort.signal));
  await until(() => images.prepared === 1);
  await setImmediate();
  const waiting = answerTo(scheduler, requestOf([picture(2)]));
  abort.abort();
  await cancelled;
  gate.resolve();
  assert.equal((await waiting).end.type, "finished");
  assert.equal((await running).end.type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler refuses at once what cannot wait, and says when to come again", async () => {
  const service = scriptedService({ scheduler: { limits: { maxNumSeqs: 1, waitingRequestsMax: 2 } } });
  const running = [1, 2].map(() => answerTo(service.scheduler, requestOf(PROMPT)));
  assert.throws(
    () => service.scheduler.submit(requestOf(PROMPT), NEVER),
    (error: RequestError) => error.code === "rate_limit_exceeded" && error.retryAfterSeconds! > 0,
  );
  for (const { end } of await Promise.all(running)) assert.equal(end.type, "finished");
  assert.equal((await answerTo(service.scheduler, requestOf(PROMPT))).end.type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler drains: refuses new requests, finishes running ones", async () => {
  const service = scriptedService();
  const running = answerTo(service.scheduler, requestOf(PROMPT));
  const drained = service.scheduler.drain(60_000);
  assert.throws(
    () => service.scheduler.submit(requestOf(PROMPT), NEVER),
    (error: RequestError) => error.code === "draining",
  );
  await drained;
  assert.equal((await running).end.type, "finished");
  await closeIdle(service);
});

Deno.test("createScheduler cancels what still runs at the deadline of a drain", async () => {
  const clock = new ManualClock();
  const gate = Promise.withResolvers<void>();
  const service = scriptedService({ clock, behaviour: { delay: () => gate.promise } });
  const running = answerTo(service.scheduler, requestOf(PROMPT));
  await until(() => service.steps.length > 0);
  const drained = service.scheduler.drain(100);
  clock.advance(99);
  assert.equal(service.scheduler.snapshot().running, 1);
  clock.advance(1);
  assert.equal((await running).end.type, "cancelled");
  gate.resolve();
  await drained;
  service.scheduler.checkIntegrity();
});

Deno.test("createScheduler fails the members of a failed step and goes on", async () => {
  let failures = 1;
  const service = scriptedService({ behaviour: { fails: () => failures-- > 0 } });
  const first = await answerTo(service.scheduler, requestOf(PROMPT));
  assert(first.end.type === "failed");
  assert.equal(first.end.error.code, "engine_failed");
  assert.doesNotMatch(first.end.error.message, /scripted/, "nothing internal is told");
  const second = await answerTo(service.scheduler, requestOf(PROMPT));
  assert.deepEqual(second.ids, expected(PROMPT));
  assert.equal(service.scheduler.metrics.stepFailures.prefill, 1);
  await closeIdle(service);
});

Deno.test("createScheduler fails alone the sequence whose logits are not numbers", async () => {
  let rows = 0;
  const service = scriptedService({ behaviour: { notFinite: () => ++rows === 2 } });
  const ends = (await Promise.all([1, 2, 3].map(() => answerTo(service.scheduler, requestOf(PROMPT)))))
    .map(({ end }) => end.type);
  assert.deepEqual(ends.sort(), ["failed", "finished", "finished"]);
  await closeIdle(service);
});

Deno.test("createScheduler gives everything back within the step in which a request is cancelled", async () => {
  const content: ContentPart[] = [picture(1), { type: "text", text: PROMPT }];
  const compression = compressionBy("knorm", 0.5);
  for (const stage of ["encode", "prefill", "compress", "decode"]) {
    const gate = Promise.withResolvers<void>();
    const service = scriptedService({
      behaviour: { delay: () => inStage() ? gate.promise : Promise.resolve() },
    });
    const { steps } = service;
    const inStage = () => steps[steps.length - 1]?.startsWith(stage) ?? false;
    const abort = new AbortController();
    const events = collect(service.scheduler.submit(requestOf(content, { compression }), abort.signal));
    await until(inStage);
    abort.abort();
    const types = (await events).map(({ type }) => type);
    assert.deepEqual(types.filter((type) => type !== "token"), ["admitted", "cancelled"], stage);
    gate.resolve();
    await until(() => service.scheduler.snapshot().sequences === 0);
    await service.scheduler.drain(0);
    const last = steps.length;
    await closeIdle(service);
    assert.equal(steps.length, last, `no step follows the one of ${stage}`);
  }
});

Deno.test("createScheduler cancels a request whose signal was aborted before it came", async () => {
  const service = scriptedService();
  const events = await collect(service.scheduler.submit(requestOf(PROMPT), AbortSignal.abort()));
  assert.deepEqual(events[events.length - 1], { type: "cancelled" });
  await closeIdle(service);
});

Deno.test("createScheduler cancels a request whose reader returns early", async () => {
  const service = scriptedService();
  for await (const event of service.scheduler.submit(requestOf(PROMPT, { maxTokens: 50 }), NEVER)) {
    if (event.type === "token") break;
  }
  await until(() => service.scheduler.snapshot().sequences === 0);
  assert.equal(service.scheduler.metrics.finished.cancelled, 1);
  await closeIdle(service);
});

Deno.test("createScheduler lets a slow reader pause its own sequence only, and lets go of its seat", async () => {
  const service = scriptedService({ scheduler: { limits: { maxNumSeqs: 1, streamEventsMax: 4 } } });
  const slow = service.scheduler.submit(requestOf(PROMPT, { maxTokens: 20 }), NEVER);
  const fast = await answerTo(service.scheduler, requestOf(PROMPT));
  assert.deepEqual(fast.ids, expected(PROMPT));
  assert.equal(service.scheduler.snapshot().running, 1);
  const rest = await collect(slow);
  const ids = rest.filter((event: GenerateEvent) => event.type === "token").map(({ id }) => id);
  assert.deepEqual(ids, expected(PROMPT, null, 20));
  await closeIdle(service);
});

Deno.test("createScheduler measures what it does", async () => {
  const service = scriptedService();
  await Promise.all([1, 2].map(() => answerTo(service.scheduler, requestOf(PROMPT))));
  const { metrics } = service.scheduler;
  assert.deepEqual([metrics.ttft.count, metrics.itl.count, metrics.endToEnd.count], [2, 2 * 7, 2]);
  assert.deepEqual([metrics.promptTokens, metrics.generatedTokens, metrics.finished.length], [22, 16, 2]);
  assert.equal(metrics.stageRun.prefill.count, 2);
  assert.equal(metrics.stageRun.encode.count, 0);
  await closeIdle(service);
});
