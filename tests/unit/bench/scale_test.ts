import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { boundOf } from "../../../bench/scale/bound.ts";
import { DEVICES, kvBytesPerToken, rooflineCosts, weightBytes } from "../../../bench/scale/costs.ts";
import { fitSteps, type LoopSteps, measuredCosts, valueAt } from "../../../bench/scale/measured_costs.ts";
import { ringOf, simulateReplicas } from "../../../bench/scale/replicas.ts";
import { simulateLoad, type VirtualRequest, type World } from "../../../bench/scale/simulate.ts";
import { VirtualClock } from "../../../bench/scale/virtual_clock.ts";
import { openModel } from "../../../lib/model/directory.ts";
import { DYNAMIC } from "../../../scheduler/policy.ts";

const LLAVA = fileURLToPath(new URL("../../../bench/configs/llava-1.5-7b", import.meta.url));

Deno.test("VirtualClock fires timers by their time, then by their making, and none that is cancelled", () => {
  const clock = new VirtualClock();
  const fired: string[] = [];
  const at = (ms: number, name: string) => clock.after(ms, () => fired.push(`${name} ${clock.now()}`));
  at(5, "b");
  at(5, "c");
  at(1, "a");
  at(3, "never")();
  for (let i = 100; i > 5; i--) at(i, "late");
  while (fired.length < 4 && clock.fireNext());
  assert.deepEqual(fired, ["a 1", "b 5", "c 5", "late 6"]);
  clock.after(0, () => fired.push(`now ${clock.now()}`));
  clock.fireNext();
  assert.equal(fired[4], "now 6");
  while (clock.fireNext());
  assert.equal(fired.at(-1), "late 100");
  assert.equal(clock.fireNext(), false);
});

Deno.test("the shapes of LLaVA-1.5-7B come to the known sizes", async () => {
  const { config } = await openModel(LLAVA, "dummy");
  assert.equal(kvBytesPerToken(config), 512 * 1024);
  assert.ok(Math.abs(weightBytes(config) / 1e9 - 13.8) < 0.2, `${weightBytes(config)}`);
});

Deno.test("a decode step costs its weights' bytes, a long prefill its arithmetic", async () => {
  const { config } = await openModel(LLAVA, "dummy");
  const costs = rooflineCosts(DEVICES.h100, config);
  const sequence = (tokens: number, stored: number) => ({
    ...{ tokens: new Uint32Array(tokens), positions: new Uint32Array(0), slotBase: Uint32Array.of(stored) },
    ...{ pageTables: [], sampling: null, sampled: 0 },
  });
  // 13.2 GB at 0.7 of 3,350 GB/s is 5.6 ms, and 2 ms for the step.
  const alone = costs.forward([sequence(1, 0)]);
  assert.ok(alone > 7.3 && alone < 8, `${alone} ms`);
  assert.ok(costs.forward(Array.from({ length: 8 }, () => sequence(1, 0))) < 1.01 * alone);
  // 2 · 6.6 G · 4,096 operations at half of 989 T/s are 109 ms, and some for attention.
  const prompt = costs.forward([sequence(4096, 0)]);
  assert.ok(prompt > 109 && prompt < 125, `${prompt} ms`);
});

Deno.test("valueAt is straight between points, level before them, and never falls beyond them", () => {
  const points = [{ x: 1, y: 5 }, { x: 3, y: 9 }, { x: 8, y: 8 }];
  assert.deepEqual([0, 1, 2, 3, 8].map((x) => valueAt(points, x)), [5, 5, 7, 9, 8]);
  assert.equal(valueAt(points, 13), 8);
  assert.equal(valueAt(points.slice(0, 2), 5), 13);
  assert.equal(valueAt(points.slice(0, 1), 5), 5);
});

Deno.test("fitSteps finds again what steps cost beside a decode batch, what requests take outside, and the gaps", () => {
  // A picture costs 5 ms and 1 more a decoding sequence, a token a tenth of that, a decode step 2 ms and 0.5 a sequence.
  const loop = (clients: number, times: number): LoopSteps => ({
    clients,
    encode: { steps: 10 * times, units: 10 * times, ms: 10 * times * (5 + clients) },
    prefill: { steps: 10 * times, units: 500 * times, ms: 50 * times * (5 + clients) },
    decode: { steps: 40 * times, units: 40 * times * clients, ms: 40 * times * (2 + 0.5 * clients) },
    requests: 10 * times,
    overheadMs: 10 * times * (3 + clients),
    ms: times * (10 * (5 + clients) + 50 * (5 + clients) + 40 * (2 + 0.5 * clients)) +
      60 * times * (clients < 4 ? 9 : 0.25),
  });
  // Of two loops of as many clients the larger one counts for more.
  const slow = loop(8, 1);
  const slower = { ...slow, encode: { ...slow.encode, ms: 10 * (5 + 8 + 4) } };
  const curves = fitSteps([loop(8, 3), loop(1, 1), slower, loop(4, 1)]);
  const near = (value: number, wanted: number) => assert.ok(Math.abs(value - wanted) < 1e-9, `${value}`);
  assert.deepEqual(curves.encode.map(({ x }) => x), [1, 4, 8]);
  near(curves.encode[2].y, 14);
  // 40 ms more in the slower loop's 60 steps, and they are not between steps.
  near(curves.gapMs, (60 * 5 * 0.25 - 40) / (60 * 5));
  const { costs, overheadMs } = measuredCosts({ ...curves, gapMs: 0.25 });
  const token = { tokens: new Uint32Array(1), slotBase: Uint32Array.of(9) };
  near(costs.encode([{ embeddingRows: 4 }, { embeddingRows: 4 }]), 0.25 + 2 * 6);
  near(costs.forward([token, token, token]), 0.25 + 2 + 0.5 * 3);
  near(costs.encode([{ embeddingRows: 4 }]), 0.25 + 5 + 3);
  near(costs.forward([{ tokens: new Uint32Array(20), slotBase: Uint32Array.of(0) }]), 0.25 + 20 * 0.8);
  near(overheadMs(), 6);
});

Deno.test("boundOf divides decode by its batch, and a static batch lasts as long as its longest member", async () => {
  const { config } = await openModel(LLAVA, "dummy");
  const costs = rooflineCosts(DEVICES.h100, config);
  const load = {
    ...{ imageTokens: 576, promptTokens: 704, keptTokens: 141 },
    completionTokens: { least: 64, most: 320 },
  };
  const seats = { sequences: 256, stepTokens: 4096, poolTokens: 100_000 };
  const dynamic = boundOf(DYNAMIC, costs, load, seats);
  const fixed = boundOf({ kind: "static", prefill: 1, compress: 1, decode: 8 }, costs, load, seats);
  assert.deepEqual([dynamic.decodeSteps, dynamic.decodeBatch], [192, 256]);
  assert.deepEqual([Math.round(fixed.decodeSteps), fixed.decodeBatch], [292, 8]);
  // 2 · 6.6 G · 704 operations at half of 989 T/s are 18.8 ms, whatever the batch.
  for (const { prefillMs } of [dynamic, fixed]) assert.ok(prefillMs > 18.8 && prefillMs < 23, `${prefillMs}`);
  assert.ok(dynamic.perSecond > 6 * fixed.perSecond && dynamic.perSecond < 12 * fixed.perSecond);
});

const WORLD: World = {
  ...measuredCosts({
    encode: [{ x: 1, y: 10 }],
    // 16 tokens.
    prefill: [{ x: 1, y: 20 / 16 }],
    decode: [{ x: 1, y: 5 }],
    overhead: [{ x: 1, y: 1 }],
    gapMs: 0,
  }),
  facts: {
    ...{ backend: "virtual", adapter: "", software: false, features: [], loadMs: {}, kvDtype: "f16" },
    ...{ layers: 1, vocabSize: 64, pageBytes: 1, pageSlots: 16, pageCount: 1024 },
    shape: { heads: 1, kvHeads: 1, headDim: 1 },
    ...{ embeddingRows: 64, stepTokensMax: 512, compressors: [] },
  },
  ...{ imageTokens: 4, maxModelLen: 512, policy: DYNAMIC, compression: null },
  ...{ maxNumSeqs: 8, waitingRequestsMax: 2 },
};
const request = (atMs: number, picture: number): VirtualRequest => ({
  ...{ atMs, picture, textTokens: 12, completionTokens: 3 },
});

Deno.test("a request alone takes its own steps and no more", async () => {
  const { run, busyMs } = await simulateLoad(WORLD, [request(100, 1)]);
  const [{ dueMs, endMs, reply }] = run.sent;
  assert.ok(reply.kind === "answer");
  // A stage may wait a few milliseconds for company.
  const first = reply.answer.firstTextMs - dueMs;
  assert.ok(first >= 31 && first < 45, `first token after ${first} ms`);
  assert.deepEqual(reply.answer.gapsMs, [5, 5]);
  assert.equal(endMs, reply.answer.lastMs);
  assert.equal(busyMs, 10 + 20 + 2 * 5);
});

Deno.test("a crowd is batched, answered or refused, the same way every time", async () => {
  const crowd = Array.from({ length: 40 }, (_, i) => request(i * 4, i));
  const [one, same] = [await simulateLoad(WORLD, crowd), await simulateLoad(WORLD, crowd)];
  assert.deepEqual(one, same);
  const kinds = new Set(one.run.sent.map(({ reply }) => reply.kind));
  assert.deepEqual([...kinds].sort(), ["answer", "refused"]);
  assert.equal(one.run.sent.length, 40);
});

Deno.test("the ring gives every replica its part, and takes little away when one is added", () => {
  const [four, five] = [ringOf(4), ringOf(5)];
  const keys = Array.from({ length: 20_000 }, (_, key) => key);
  for (const replica of [0, 1, 2, 3]) {
    const share = keys.filter((key) => four(key) === replica).length / keys.length;
    assert.ok(share > 0.18 && share < 0.32, `${share}`);
  }
  const moved = keys.filter((key) => four(key) !== five(key)).length / keys.length;
  assert.ok(moved > 0.1 && moved < 0.3, `${moved} of the keys have moved`);
});

Deno.test("replicas answer all of a load, each request under its own number", async () => {
  const world = { ...WORLD, waitingRequestsMax: 1000 };
  const crowd = Array.from({ length: 30 }, (_, i) => request(i, i));
  const { run } = await simulateReplicas(world, crowd, 3, new AbortController().signal);
  assert.deepEqual(
    run.sent.map(({ index }) => index).sort((a, b) => a - b),
    Array.from({ length: 30 }, (_, i) => i),
  );
  assert.ok(run.sent.every(({ reply }) => reply.kind === "answer"));
});
