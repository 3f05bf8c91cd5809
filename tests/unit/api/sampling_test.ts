import assert from "node:assert/strict";
import { samplingOf, stopStrings } from "../../../lib/api/sampling.ts";
import { seededRandom } from "../../../lib/core/random.ts";
import { scriptedModel } from "../../support/scripted_scheduler.ts";

const random = seededRandom(7);
const sampling = (fields: Parameters<typeof samplingOf>[0]) =>
  samplingOf(fields, null, scriptedModel, random);

Deno.test("samplingOf: -1, 0 and more than the vocabulary all turn top_k off", () => {
  for (const top_k of [-1, 0, 1000, 2 ** 32 + 1]) assert.equal(sampling({ top_k }).topK, 0, String(top_k));
  assert.equal(sampling({ top_k: 999 }).topK, 999);
});

Deno.test("samplingOf: an empty nucleus is greedy", () => {
  const { temperature, topP } = sampling({ top_p: 0, temperature: 1 });
  assert.deepEqual([temperature, topP], [0, 1]);
});

Deno.test("samplingOf: explicit zeros win over the model's defaults", () => {
  const { temperature, minP } = sampling({ temperature: 0, min_p: 0 });
  assert.deepEqual([temperature, minP], [0, 0]);
});

Deno.test("samplingOf: a seed is its two's complement as two words", () => {
  assert.deepEqual(sampling({ seed: 5 }).seed, [5, 0]);
  assert.deepEqual(sampling({ seed: -1 }).seed, [0xffff_ffff, 0xffff_ffff]);
  assert.deepEqual(sampling({ seed: 2 ** 63 }).seed, [0, 0x8000_0000]);
  assert.deepEqual(sampling({ seed: Number("9007199254740993") }).seed, [0, 0x0020_0000]);
});

Deno.test("samplingOf: without a seed every request draws its own", () => {
  assert.notDeepEqual(sampling({}).seed, sampling({}).seed);
  assert.notDeepEqual(sampling({ seed: null }).seed, sampling({ seed: null }).seed);
});

Deno.test("stopStrings: null, a string and a list", () => {
  assert.deepEqual(stopStrings(null), []);
  assert.deepEqual(stopStrings("a"), ["a"]);
  assert.deepEqual(stopStrings(["a", "b"]), ["a", "b"]);
  assert.deepEqual(stopStrings([]), []);
});
