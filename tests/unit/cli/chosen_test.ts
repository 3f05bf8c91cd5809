import assert from "node:assert/strict";
import { chosenLines, poolTokens, size } from "../../../lib/cli/chosen.ts";
import { ENGINE_FACTS } from "./engine_facts.ts";

Deno.test("poolTokens counts whole pages in every layer", () => {
  // 1024 pages / 5 layers = 204 pages a layer, 16 slots each.
  assert.equal(poolTokens(ENGINE_FACTS), 3264);
});

Deno.test("size picks the largest unit that leaves at least one", () => {
  assert.equal(size(512), "512 B");
  assert.equal(size(8 * 1024 ** 2), "8.0 MiB");
  assert.equal(size(1.5 * 1024 ** 3), "1.5 GiB");
});

Deno.test("chosenLines name adapter, pool in bytes and tokens, context, default max_tokens and windows", () => {
  const lines = chosenLines({
    facts: ENGINE_FACTS,
    modelName: "m",
    architecture: "LlamaForCausalLM",
    maxModelLen: 2048,
    maxNumSeqs: 32,
    defaultMaxTokens: null,
    windows: {
      encode: { items: 8, tokens: 512, waitMs: 2 },
      prefill: { items: 16, tokens: 2048, waitMs: 5 },
      compress: { items: 32, tokens: 65536, waitMs: 2 },
      decode: { items: 32, tokens: 32, waitMs: 0 },
    },
    loadMs: 1234,
  });
  assert.deepEqual(lines, [
    "adapter: llvmpipe (software), webgpu",
    "model: m (LlamaForCausalLM), loaded in 1.2 s",
    "KV pool: 8.0 MiB, 3264 tokens in f16",
    "longest context: 2048 tokens; default max_tokens: what fits; sequences at one time: 32",
    "windows (items:tokens:wait ms): encode 8:512:2, prefill 16:2048:5, compress 32:65536:2, decode 32:32:0",
  ]);
});
