import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  DEVICES,
  fitLine,
  kvBytesPerToken,
  linearCosts,
  rooflineCosts,
  weightBytes,
} from "../../../bench/scale/costs.ts";
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

Deno.test("fitLine finds a line again and never goes below nothing", () => {
  const load = (units: number, ms: number) => ({ steps: 10, units: 10 * units, ms: 10 * ms });
  const { base, each } = fitLine([load(1, 5), load(4, 11), load(16, 35)]);
  assert.ok(Math.abs(base - 3) < 1e-9 && Math.abs(each - 2) < 1e-9);
  assert.deepEqual(fitLine([load(1, 5)]), { base: 5, each: 0 });
  assert.deepEqual(fitLine([]), { base: 0, each: 0 });
  const steep = fitLine([load(1, 0.1), load(2, 10)]);
  assert.ok(steep.base >= 0 && steep.each > 0);
});

const WORLD: World = {
  costs: linearCosts({
    encode: { base: 10, each: 0 },
    prefill: { base: 20, each: 0 },
    decode: { base: 5, each: 0 },
    compress: { base: 0, each: 0 },
  }),
  facts: {
    ...{ backend: "virtual", adapter: "", software: false, features: [], loadMs: {}, kvDtype: "f16" },
    ...{ layers: 1, vocabSize: 64, pageBytes: 1, pageSlots: 16, pageCount: 1024 },
    shape: { heads: 1, kvHeads: 1, headDim: 1 },
    ...{ embeddingRows: 64, stepTokensMax: 512, compressors: [] },
  },
  ...{ imageTokens: 4, maxModelLen: 512, policy: DYNAMIC, compression: null },
  ...{ maxNumSeqs: 8, waitingRequestsMax: 2, overheadMs: 1 },
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
  const { run } = await simulateReplicas(world, Array.from({ length: 30 }, (_, i) => request(i, i)), 3);
  assert.deepEqual(
    run.sent.map(({ index }) => index).sort((a, b) => a - b),
    Array.from({ length: 30 }, (_, i) => i),
  );
  assert.ok(run.sent.every(({ reply }) => reply.kind === "answer"));
});
