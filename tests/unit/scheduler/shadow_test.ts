import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { SHADOW_WAITING_MAX } from "../../../lib/core/limits.ts";
import { seededRandom } from "../../../lib/core/random.ts";
import { keptOf } from "../../../scheduler/compression.ts";
import type { Compression, GenerateRequest } from "../../../scheduler/messages.ts";
import { ShadowGuard } from "../../../scheduler/shadow.ts";
import { ShadowRecord } from "../../../scheduler/shadow_record.ts";
import { compressionBy } from "../../support/compressions.ts";
import { answerTo, requestOf, scriptedService } from "../../support/scripted_service.ts";
import { closeIdle, until } from "../../support/scripted_service_end.ts";
import { uniformFactors } from "../../../lib/model/compressor.ts";

const KNORM = compressionBy("knorm", 0.5);
/** Long enough for a copy of half to have fewer pages. */
const PROMPT = "A_PROMPT_OF_TWENTY_FOUR_";

function guardOf(options: Parameters<typeof scriptedService>[0] = {}, compression = KNORM, rate = 1) {
  const service = scriptedService(options);
  const guard = new ShadowGuard(service.scheduler, {
    rate,
    random: seededRandom(1),
    compression,
    compressors: [],
  });
  return { service, guard };
}

Deno.test("ShadowGuard answers a compressed request again when nothing runs, and counts what agrees", async () => {
  const { service, guard } = guardOf();
  const picture = { type: "image", bytes: Uint8Array.of(7), param: "messages" } as const;
  const first = await answerTo(guard, requestOf([{ type: "text", text: PROMPT }, picture]));
  assert(first.end.type === "finished" && first.end.compression !== null);
  await until(() => guard.snapshot().sequences === 0 && [...guard.metrics.shadow.figures()].length === 1);
  const [figures] = guard.metrics.shadow.figures();
  assert.deepEqual([figures.method, figures.ratio, figures.runs, figures.tokens], ["knorm", "0.50", 1, 8]);
  // The first token comes from the whole cache in both; the scripted device answers otherwise from another cache.
  assert(figures.equalTokens >= 1 && figures.equalTokens < 8, `${figures.equalTokens}`);
  assert.equal(guard.metrics.compressed, 2, "the request, and the answer that is compared");
  await closeIdle(service);
});

Deno.test("ShadowGuard compares a cache that lost a slot and no page", async () => {
  const { service, guard } = guardOf({}, compressionBy("knorm", 0.05));
  const { end } = await answerTo(guard, requestOf(PROMPT));
  assert(end.type === "finished" && end.compression !== null);
  assert.equal(end.compression.bytesAfter, end.compression.bytesBefore);
  await until(() => guard.snapshot().sequences === 0 && [...guard.metrics.shadow.figures()].length === 1);
  await closeIdle(service);
});

Deno.test("ShadowGuard leaves alone what was not compressed, and all when its rate is nothing", async () => {
  const whole = guardOf();
  await answerTo(whole.guard, requestOf(PROMPT, { compression: null }));
  const none = guardOf({}, KNORM, 0);
  await answerTo(none.guard, requestOf(PROMPT));
  for (const { guard, service } of [whole, none]) {
    await setImmediate();
    assert.equal(guard.metrics.shadow.dropped + [...guard.metrics.shadow.figures()].length, 0);
    assert.equal(guard.metrics.generatedTokens, 8);
    await closeIdle(service);
  }
});

Deno.test("ShadowGuard gives way to a request that comes", async () => {
  const { service, guard } = guardOf({ behaviour: { delay: () => setImmediate() } });
  await answerTo(guard, requestOf(PROMPT, { maxTokens: 40 }));
  await until(() => guard.snapshot().running === 1);
  const second = await answerTo(guard, requestOf(PROMPT, { compression: null, id: "second" }));
  assert.equal(second.ids.length, 8);
  assert.equal(guard.metrics.shadow.putOff, 1, "the run that was under way");
  assert.equal(guard.metrics.finished.cancelled, 0, "no client has left");
  await until(() => [...guard.metrics.shadow.figures()].length === 1);
  assert.equal(guard.metrics.shadow.dropped, 0, "it had its turn later");
  await guard.drain(0);
  await closeIdle(service);
});

Deno.test("ShadowGuard changes no answer of a request", async () => {
  const { service, guard } = guardOf();
  const bare = scriptedService();
  const request = requestOf(PROMPT, { compression: KNORM });
  assert.deepEqual((await answerTo(guard, request)).ids, (await answerTo(bare.scheduler, request)).ids);
  await guard.drain(0);
  await closeIdle(service);
  await closeIdle(bare);
});

Deno.test("ShadowGuard drops what finds no place to wait", async () => {
  const { service, guard } = guardOf({ behaviour: { delay: () => setImmediate() } });
  const prompts = [..."ABCDEFGHIJKL"].map((letter) => requestOf(letter + PROMPT));
  await Promise.all(prompts.map((request) => answerTo(guard, request)));
  // As many as may wait do; where all have ended by the time the first end is read, one more runs.
  const beyond = prompts.length - SHADOW_WAITING_MAX, { dropped } = guard.metrics.shadow;
  assert(dropped === beyond - 1 || dropped === beyond, `${dropped} were dropped`);
  await guard.drain(0);
  await closeIdle(service);
});

const tokens = (...ids: number[]) => ids.map((id) => ({ id, logprob: -0.5 }));

/** The default compression, and `auto` as a request has it that names nothing beside it. */
const AUTO = compressionBy("keydiff", 0.5, { underPressure: true, adaptive: true });

Deno.test("ShadowGuard backs off its default and auto that names nothing, and changes nothing that a request names", async () => {
  const service = scriptedService(), { scheduler } = service;
  const done: GenerateRequest["compression"][] = [];
  const guard = new ShadowGuard({
    metrics: scheduler.metrics,
    submit(request, signal) {
      done.push(request.compression);
      return scheduler.submit(request, signal);
    },
    snapshot: () => scheduler.snapshot(),
    drain: (deadlineMs) => scheduler.drain(deadlineMs),
    checkIntegrity: () => scheduler.checkIntegrity(),
    close: () => scheduler.close(),
  }, { rate: 0.5, random: { nextUint32: () => 2 ** 32 - 1 }, compression: KNORM, compressors: [] });
  const named = { ...AUTO, adaptive: false };
  const asks = [undefined, AUTO, named, KNORM, null];
  for (const asked of [KNORM, AUTO]) {
    for (let run = 0; run < 8; run++) guard.metrics.shadow.seen(asked, asked, tokens(1), tokens(2));
  }
  for (const compression of asks) await answerTo(guard, requestOf(PROMPT, { compression }));
  const less = { size: { ratio: 0.4 } };
  assert.deepEqual(done, [{ ...KNORM, ...less }, { ...AUTO, ...less }, named, KNORM, null]);
  await closeIdle(service);
});

Deno.test("ShadowGuard counts runs of what a request named, and backs nothing off for them", async () => {
  const { service, guard } = guardOf();
  const { shadow } = guard.metrics;
  const runs = async (count: number, compression: Compression | undefined) => {
    const before = [...shadow.figures()][0]?.runs ?? 0;
    for (let run = 1; run <= count; run++) {
      await answerTo(guard, requestOf(PROMPT, { compression }));
      await until(() => [...shadow.figures()][0]?.runs === before + run);
    }
  };
  await runs(10, KNORM);
  assert.deepEqual(shadow.eased(KNORM, []), KNORM);
  await runs(8, undefined);
  assert.deepEqual(shadow.eased(KNORM, [])?.size, { ratio: 0.4 });
  await guard.drain(0);
  await closeIdle(service);
});

Deno.test("ShadowRecord backs a ratio off when answers stop agreeing, step by step, and not before", () => {
  const record = new ShadowRecord();
  const differ = () => record.seen(KNORM, KNORM, tokens(1, 2), tokens(1, 3));
  for (let run = 0; run < 7; run++) differ();
  assert.deepEqual(record.eased(KNORM, []), KNORM);
  differ();
  assert.deepEqual(record.eased(KNORM, [])?.size, { ratio: 0.4 });
  for (let run = 0; run < 8; run++) differ();
  assert.deepEqual(record.eased(KNORM, [])?.size, { ratio: 0.5 * 0.8 ** 2 });
  assert.deepEqual(record.eased(compressionBy("knorm", 0.25), []), compressionBy("knorm", 0.25));
});

Deno.test("ShadowRecord takes a factor from mean-pool, and compression itself where none is left", () => {
  const record = new ShadowRecord(), third = compressionBy("mean-pool", 2 / 3);
  const differ = () => record.seen(third, third, tokens(1), tokens(2));
  for (let run = 0; run < 8; run++) differ();
  assert.deepEqual(record.eased(third, [])?.size, { ratio: 0.5 });
  for (let run = 0; run < 8; run++) differ();
  assert.equal(record.eased(third, []), null);
});

Deno.test("ShadowRecord takes the next smaller trained factor of learned, with its settings, and compression itself where none is left", () => {
  const trained = [2, 10, 5, 3].map((factor) => (
    { factor, minGroups: factor, factors: uniformFactors(factor, 1) }
  ));
  const by = ({ factor, minGroups, factors }: typeof trained[number]) => ({
    ...compressionBy("learned", 1 - 1 / factor),
    settings: { min_groups: minGroups, ...factors },
  });
  const record = new ShadowRecord(), fifth = by(trained[2]);
  const differ = () => record.seen(fifth, fifth, tokens(1), tokens(2));
  for (const next of [trained[3], trained[0]]) {
    for (let run = 0; run < 8; run++) differ();
    const eased = record.eased(fifth, trained);
    assert.deepEqual(eased, by(next));
    assert.deepEqual(keptOf(eased!, 60, 1, []), Uint32Array.of(60 / next.factor), "it can be done");
  }
  for (let run = 0; run < 8; run++) differ();
  assert.equal(record.eased(fifth, trained), null);
});

Deno.test("ShadowRecord judges the server's own choice however many ratios clients have named", () => {
  const record = new ShadowRecord();
  for (let ratio = 1; ratio < 200; ratio++) {
    record.seen(null, compressionBy("streaming", ratio / 200), tokens(1), tokens(2));
  }
  for (let run = 0; run < 8; run++) record.seen(KNORM, KNORM, tokens(1), tokens(2));
  assert.deepEqual(record.eased(KNORM, [])?.size, { ratio: 0.4 });
});

Deno.test("ShadowRecord leaves a ratio whose answers agree, and counts a shorter answer as one that differs", () => {
  const record = new ShadowRecord();
  for (let run = 0; run < 20; run++) record.seen(KNORM, KNORM, tokens(1, 2, 3, 4, 9), tokens(1, 2, 3, 4, 5));
  assert.deepEqual(record.eased(KNORM, []), KNORM);
  record.seen(KNORM, KNORM, tokens(1), tokens(1, 2));
  const [figures] = record.figures();
  assert.deepEqual([figures.runs, figures.tokens, figures.equalTokens], [21, 102, 81]);
});
