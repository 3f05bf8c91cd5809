/** What happens when memory runs short, and what is stored already. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { Compression, ContentPart, GenerateRequest } from "../../../scheduler/messages.ts";
import { expectedTokens } from "../../support/scripted_engine.ts";
import {
  answerTo,
  requestOf,
  type ScriptedService,
  scriptedService,
} from "../../support/scripted_service.ts";
import { closeIdle, until } from "../../support/scripted_service_end.ts";
import { ScriptedText } from "../../support/scripted_text.ts";
import { compressionBy } from "../../support/compressions.ts";

const PROMPT = "HELLO_THERE";
const LONG = 100;
/**
 * A prompt of 11 tokens and 100 more are 28 pages in each of two layers at the end; 64 tokens are expected at first, 38
 * pages. Three begin in this pool, and two reach their end.
 */
const SMALL = { pageCount: 120 };
const KEPT = 5;
const AUTO = compressionBy("keydiff", 0.5, { underPressure: true });
const KNORM: Compression = compressionBy("knorm", 0.5);

function expected(text: string, kept: number | null): number[] {
  const prompt = new ScriptedText().encode(text, "chat", []);
  return expectedTokens({ layers: 2, vocab: 64, prompt, kept, seed: 7, maxTokens: LONG });
}

/** Six long requests at once; the prompts differ, so that none shares pages. */
async function crowd({ scheduler }: ScriptedService, fields: Partial<GenerateRequest> = {}) {
  const prompts = [..."ABCDEF"].map((letter) => letter + PROMPT.slice(1));
  const answers = await Promise.all(
    prompts.map((prompt) => answerTo(scheduler, requestOf(prompt, { maxTokens: LONG, ...fields }))),
  );
  return answers.map(({ ids, end }, index) => {
    assert(end.type === "finished");
    return { prompt: prompts[index], ids, end };
  });
}

for (
  const [name, compression, kept] of [
    ["raw ones", null, null],
    ["compressed ones", KNORM, KEPT],
  ] as const
) {
  Deno.test(`createScheduler preempts what a small pool cannot hold and changes no answer: ${name}`, async () => {
    // Compressed sequences are smaller: it takes a smaller pool to make them run short.
    const service = scriptedService({ facts: compression === null ? SMALL : { pageCount: 80 } });
    for (const { prompt, ids } of await crowd(service, { compression })) {
      assert.deepEqual(ids, expected(prompt, kept));
    }
    const { metrics } = service.scheduler;
    assert(metrics.preempted > 0);
    assert.equal(metrics.resumed, metrics.preempted);
    if (compression !== null) assert(metrics.compressed > 6, "some were compressed again");
    await closeIdle(service);
  });
}

Deno.test("createScheduler preempts nobody in a pool that is large enough", async () => {
  const service = scriptedService({ facts: { pageCount: 6 * 56 } });
  await crowd(service);
  assert.equal(service.scheduler.metrics.preempted, 0);
  await closeIdle(service);
});

Deno.test("createScheduler compresses under pressure before it preempts, and leaves alone what never ran short", async () => {
  // Three at a time: raw they do not fit this pool to their ends, with their caches halved they do.
  const three = { facts: SMALL, scheduler: { limits: { maxNumSeqs: 3 } } };
  const raw = scriptedService(three);
  await crowd(raw);
  assert(raw.scheduler.metrics.preempted > 0);
  await closeIdle(raw);

  const service = scriptedService(three);
  const short = await crowd(service, { compression: AUTO });
  const { metrics } = service.scheduler;
  assert(metrics.shrunk > 0);
  assert.equal(metrics.preempted, 0);
  const shrunk = short.filter(({ end }) => end.compression!.keptTokens < end.compression!.storedTokens);
  assert.equal(shrunk.length, metrics.shrunk);
  for (const { end } of shrunk) {
    assert(end.compression!.storedTokens > PROMPT.length, "tokens of the answer were compressed as well");
    assert(end.compression!.bytesAfter < end.compression!.bytesBefore);
    assert.equal(end.compression!.reason, "memory");
  }
  await closeIdle(service);

  const large = scriptedService({ facts: { pageCount: 1000 } });
  for (const { prompt, ids } of await crowd(large, { compression: AUTO })) {
    assert.deepEqual(ids, expected(prompt, null));
  }
  assert.equal(large.scheduler.metrics.shrunk, 0);
  await closeIdle(large);
});

Deno.test("createScheduler counts no cache as shrunk that was not written shorter", async () => {
  const service = scriptedService({
    facts: SMALL,
    scheduler: { limits: { maxNumSeqs: 3 } },
    behaviour: { fails: (call) => call === "compress" },
  });
  const { scheduler: { metrics }, steps } = service;
  const prompts = [..."ABCDEF"].map((letter) => letter + PROMPT.slice(1));
  await Promise.all(
    prompts.map((prompt) =>
      answerTo(service.scheduler, requestOf(prompt, { maxTokens: LONG, compression: AUTO }))
    ),
  );
  assert(steps.some((step) => step.startsWith("compress")), "memory ran short");
  assert.deepEqual([metrics.compressed, metrics.shrunk, metrics.paid], [0, 0, 0]);
  await closeIdle(service);
});

Deno.test("createScheduler prefills only what no prompt before had, and tells how much that was", async () => {
  const service = scriptedService();
  const ask = async (text: string, fields: Partial<GenerateRequest> = {}) => {
    const { ids, end } = await answerTo(service.scheduler, requestOf(text, fields));
    assert(end.type === "finished");
    return { ids, cached: end.cachedTokens };
  };
  const cold = await ask(PROMPT);
  assert.equal(cold.cached, 0);
  const before = service.scheduler.snapshot().pool.hitTokens;
  // Two whole pages of four tokens; the third is not full.
  assert.deepEqual(await ask(PROMPT), { ids: cold.ids, cached: 8 });
  assert.equal(service.scheduler.snapshot().pool.hitTokens - before, 8);
  assert.equal((await ask(PROMPT.slice(0, 6) + "_AND_MORE")).cached, 4, "the second page differs");
  await closeIdle(service);
});

Deno.test("createScheduler shares cached prompts neither between salts nor between tenants", async () => {
  const service = scriptedService();
  const cached = async (fields: Partial<GenerateRequest>) => {
    const { end } = await answerTo(service.scheduler, requestOf(PROMPT, fields));
    assert(end.type === "finished");
    return end.cachedTokens;
  };
  const owners = [{}, { tenant: "a" }, { tenant: "b" }, { cacheSalt: "a" }, { tenant: "a", cacheSalt: "b" }];
  for (const owner of owners) assert.equal(await cached(owner), 0, JSON.stringify(owner));
  for (const owner of owners) assert.equal(await cached(owner), 8, JSON.stringify(owner));
  await closeIdle(service);
});

Deno.test("createScheduler serves no compressed page as a raw one", async () => {
  const service = scriptedService();
  const ask = (compression: Compression | null) =>
    answerTo(service.scheduler, requestOf("A" + PROMPT.slice(1), { maxTokens: LONG, compression }));
  const text = "A" + PROMPT.slice(1);
  assert.deepEqual((await ask(KNORM)).ids, expected(text, KEPT));
  assert.deepEqual((await ask(null)).ids, expected(text, null));
  assert.deepEqual((await ask(KNORM)).ids, expected(text, KEPT));
  await closeIdle(service);
});

Deno.test("createScheduler looks at no picture whose tokens are cached", async () => {
  const service = scriptedService();
  const picture: ContentPart = { type: "image", bytes: Uint8Array.of(1, 2), param: "messages" };
  const ask = () => answerTo(service.scheduler, requestOf([picture, { type: "text", text: PROMPT }]));
  const first = await ask(), second = await ask();
  assert(first.end.type === "finished" && second.end.type === "finished");
  assert.deepEqual(second.ids, first.ids);
  assert(first.end.timings.encode !== undefined);
  assert.equal(second.end.timings.encode, undefined);
  const { encodedImages, sharedImages } = service.scheduler.metrics;
  assert.deepEqual([service.images.prepared, encodedImages, sharedImages], [1, 1, 0]);
  assert.equal(service.scheduler.metrics.pictureSeconds.count, 1);
  await closeIdle(service);
});

Deno.test("createScheduler evicts nothing that another member of the same batch begins with", async () => {
  const gate = Promise.withResolvers<void>();
  let closed = false;
  const service = scriptedService({
    facts: { pageCount: 40, stepTokensMax: 64 },
    behaviour: { delay: () => closed ? gate.promise : Promise.resolve() },
    scheduler: { policy: { kind: "static", prefill: 2, compress: 1, decode: 8 } },
  });
  const picture: ContentPart = { type: "image", bytes: Uint8Array.of(1, 2), param: "messages" };
  const one = { maxTokens: 1 };
  const shown = () => answerTo(service.scheduler, requestOf([picture, { type: "text", text: "ABCD" }], one));
  // In the cache, oldest first: two pages of each layer with the picture, four pages of text.
  const first = await shown();
  await answerTo(service.scheduler, requestOf("T".repeat(16), one));
  closed = true;
  const before = service.steps.length;
  const running = answerTo(service.scheduler, requestOf("D", one));
  await until(() => service.steps.length > before);
  // The long prompt takes all free pages and evicts; the picture's pages are the oldest.
  const long = answerTo(service.scheduler, requestOf("L".repeat(58), one));
  const again = shown();
  await setImmediate();
  gate.resolve();
  for (const { end } of await Promise.all([running, long])) assert.equal(end.type, "finished");
  assert.deepEqual((await again).ids, first.ids);
  assert(service.steps.includes("prefill 2"), service.steps.join(", "));
  await closeIdle(service);
});
