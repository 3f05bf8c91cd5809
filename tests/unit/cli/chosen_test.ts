import assert from "node:assert/strict";
import { chosenLines, compressibleTokens, poolTokens, size } from "../../../lib/cli/chosen.ts";
import { ENGINE_FACTS } from "./engine_facts.ts";
import { compressionBy } from "../../support/compressions.ts";

Deno.test("poolTokens counts whole pages in every layer", () => {
  // 1024 pages / 5 layers = 204 pages a layer, 16 slots each.
  assert.equal(poolTokens(ENGINE_FACTS), 3264);
});

Deno.test("compressibleTokens counts the prompt and its copy at one moment", () => {
  // 204 pages a layer: 136 of the prompt and 68 of the copy.
  assert.equal(compressibleTokens(ENGINE_FACTS, compressionBy("knorm", 0.5)), 136 * 16);
  // 170 pages and 34.
  assert.equal(compressibleTokens(ENGINE_FACTS, compressionBy("mean-pool", 0.8)), 170 * 16);
});

Deno.test("size picks the largest unit that leaves at least one", () => {
  assert.equal(size(512), "512 B");
  assert.equal(size(8 * 1024 ** 2), "8.0 MiB");
  assert.equal(size(1.5 * 1024 ** 3), "1.5 GiB");
});

Deno.test("chosenLines name adapter, pool in bytes and tokens, context, default max_tokens, policy and batches", () => {
  const chosen = {
    facts: ENGINE_FACTS,
    modelName: "m",
    architecture: "LlamaForCausalLM",
    maxModelLen: 2048,
    maxNumSeqs: 32,
    defaultMaxTokens: null,
    compression: null,
    windows: {
      encode: { items: 8, tokens: 512, waitMs: 2 },
      prefill: { items: 16, tokens: 2048, waitMs: 5 },
      compress: { items: 32, tokens: 65536, waitMs: 2 },
      decode: { items: 32, tokens: 32, waitMs: 0 },
    },
    policy: { kind: "static", prefill: 1, compress: 1, decode: 8 } as const,
    itlTargetMs: 100,
    prefixCache: true,
    contiguous: false,
    loadMs: 1234,
  };
  assert.deepEqual(chosenLines(chosen), [
    "adapter: llvmpipe (software), webgpu",
    "model: m (LlamaForCausalLM), loaded in 1.2 s",
    "KV pool: 8.0 MiB, 3264 tokens in f16",
    "longest context: 2048 tokens; default max_tokens: what fits; sequences at one time: 32",
    "policy: static:p1c1d8, inter-token latency target 100 ms; prefix cache on",
    "largest batches (items:tokens:wait ms): encode 8:512:2, prefill 16:2048:5, compress 32:65536:2, decode 32:32:0",
  ]);
  const compressing = chosenLines({ ...chosen, compression: compressionBy("knorm", 0.5) });
  assert.equal(
    compressing[2],
    "KV pool: 8.0 MiB, 3264 tokens in f16; a prompt of 2176 fits with its copy by knorm:0.5",
  );
  const auto = compressionBy("keydiff", 0.5, { underPressure: true });
  assert.equal(
    chosenLines({ ...chosen, compression: auto })[2],
    "KV pool: 8.0 MiB, 3264 tokens in f16; when it pays or memory is short keydiff:0.5 makes room",
  );
  const runs = chosenLines({ ...chosen, contiguous: true, prefixCache: false });
  assert.equal(runs[2], "KV pool: 8.0 MiB, 3264 tokens in f16, one run a request");
  assert.match(runs[4], /; prefix cache off, for a contiguous pool shares nothing$/);
  const wasm = { ...ENGINE_FACTS, backend: "wasm", adapter: "WebAssembly SIMD, 2 threads" };
  assert.equal(chosenLines({ ...chosen, facts: wasm })[0], "device: WebAssembly SIMD, 2 threads");
});
