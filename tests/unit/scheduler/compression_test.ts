import assert from "node:assert/strict";
import { keepPages, keptOf, parseCompression, sharableTokens } from "../../../scheduler/compression.ts";
import { packingOf, packRule } from "../../../scheduler/packing.ts";
import { scriptedFacts } from "../../support/scripted_engine.ts";
import { compressionBy } from "../../support/compressions.ts";

Deno.test("keptOf keeps the same number of slots in every layer", () => {
  assert.deepEqual(keptOf(compressionBy("knorm", 0.5), 100, 3, []), Uint32Array.of(50, 50, 50));
});

Deno.test("keptOf is null where compression would save nothing", () => {
  assert.equal(keptOf(compressionBy("knorm", 0.5), 1, 3, []), null);
  assert.equal(keptOf(compressionBy("streaming", 0.25), 2, 3, [])?.[0], 1, "half a slot counts as removed");
});

Deno.test("keptOf leaves a cache below its least tokens as it is", () => {
  const compression = compressionBy("knorm", 0.5, { minTokens: 100 });
  assert.equal(keptOf(compression, 99, 3, []), null);
  assert.deepEqual(keptOf(compression, 100, 1, []), Uint32Array.of(50));
});

Deno.test("keepPages counts what prefill keeps for a method, and sharableTokens what it must have computed", () => {
  const facts = scriptedFacts({ layers: 2, pageBytes: 256 });
  const snapkv = compressionBy("snapkv", 0.5);
  const { heads, headDim } = facts.shape;
  assert.equal(keepPages(compressionBy("knorm", 0.5), 100, facts), 0);
  assert.equal(keepPages(snapkv, 100, facts), Math.ceil(2 * 64 * heads * headDim * 4 / 256));
  assert.equal(sharableTokens(null, 100), 99);
  assert.equal(sharableTokens(snapkv, 100), 36, "the last 64 queries are seen");
  assert.equal(sharableTokens(compressionBy("h2o", 0.5), 100), 0);
});

function parsed(record: Record<string, unknown>) {
  const outcome = parseCompression(record);
  assert(outcome.ok, outcome.ok ? "" : outcome.problem.message);
  return outcome.compression;
}

Deno.test("parseCompression reads a method with its settings, none, and how small a cache may be", () => {
  assert.equal(parsed({ method: "none" }), null);
  assert.deepEqual(parsed({ method: "knorm", ratio: 0.5 }), compressionBy("knorm", 0.5));
  assert.deepEqual(
    parsed({ method: "knorm", ratio: 0.5, min_tokens: 9 }),
    compressionBy("knorm", 0.5, { minTokens: 9 }),
  );
  assert.equal(parsed({ method: "snapkv", budget: 20, window_size: 8 })?.settings.window_size, 8);
});

Deno.test("parseCompression of auto compresses when it pays or memory is short, and caches worth it", () => {
  const auto = parsed({ method: "auto" });
  const usual = compressionBy("keydiff", 0.5, { underPressure: true, minTokens: 256 });
  assert.deepEqual(auto, { ...usual, adaptive: true });
  assert.deepEqual(
    parsed({ method: "auto", min_tokens: 256 }),
    usual,
    "what names anything is the client's choice",
  );
  assert.deepEqual(parsed({ method: "auto", ratio: 0.25, min_tokens: 0 })?.size, { ratio: 0.25 });
});

Deno.test("parseCompression names the field that is wrong", () => {
  const field = (record: Record<string, unknown>) => {
    const outcome = parseCompression(record);
    return outcome.ok ? null : outcome.problem.field;
  };
  assert.equal(field({ method: "zip", ratio: 0.5 }), "method");
  assert.equal(field({ method: "knorm", ratio: 0.5, min_tokens: -1 }), "min_tokens");
  assert.equal(field({ method: "auto", ratio: 2 }), "ratio");
  assert.equal(field({ method: "knorm", ratio: 0.5, window: 4 }), "window");
});

Deno.test("keptOf of quantisation alone keeps all, where a group of slots can be packed", () => {
  const packed = parsed({ quantize: "int8" });
  assert(packed !== null);
  assert.equal(keptOf(packed, 31, 2, []), null, "nothing would be saved");
  assert.deepEqual(keptOf(packed, 40, 2, []), Uint32Array.of(40, 40));
});

Deno.test("packingOf counts whole groups of each layer and the pages of all their codes", () => {
  // A group of one head of 4 channels in 8 bits: 128 codes and 4 pairs of keys, 128 codes and 32 pairs of values.
  const facts = scriptedFacts({ pageBytes: 256, kvDtype: "f16" });
  const packed = parsed({ quantize: "int8" });
  assert(packed !== null);
  const rule = packRule(packed, facts);
  assert.equal(rule?.groupBytes, 128 + 4 * 4 + 128 + 32 * 4);
  assert.deepEqual(packingOf(rule, Uint32Array.of(70, 31)), { slots: Uint32Array.of(64, 0), codePages: 4 });
  assert.equal(packingOf(packRule(compressionBy("knorm", 0.5), facts), Uint32Array.of(70)), null);
});

Deno.test("parseCompression names auto among the methods that there are", () => {
  for (const asked of [{ method: "keydif", ratio: 0.5 }, { ratio: 0.5 }]) {
    const parsed = parseCompression(asked);
    assert(!parsed.ok);
    assert.match(parsed.problem.message, /keydiff.* learned, and auto$/);
  }
});

Deno.test("parseCompression names all fields that a method takes beside one that it does not", () => {
  const parsed = parseCompression({ method: "snapkv", ration: 0.5 });
  assert(!parsed.ok);
  assert.match(
    parsed.problem.message,
    /it has method, ratio, budget, rerotate, quantize, tail, min_tokens, protect, window_size, kernel_size$/,
  );
  const auto = parseCompression({ method: "auto", ration: 0.5 });
  assert(!auto.ok);
  assert.doesNotMatch(auto.problem.message, /keydiff/, "what auto does is not what was asked for");
});
