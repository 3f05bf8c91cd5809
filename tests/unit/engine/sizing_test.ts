import assert from "node:assert/strict";
import { decideSizing } from "../../../lib/engine/sizing.ts";
import type { Capabilities } from "../../../lib/ops/backend.ts";
import type { ModelConfig } from "../../../lib/model/config.ts";

const capabilities: Capabilities = {
  backend: "webgpu",
  adapter: "a device",
  software: true,
  features: [],
  kvBytesMax: 1 << 29,
  tensorBytesMax: 1 << 27,
};

const config: ModelConfig = {
  architecture: "LlamaForCausalLM",
  text: {
    layers: 5,
    hidden: 256,
    heads: 8,
    kvHeads: 4,
    headDim: 32,
    intermediate: 512,
    vocab: 1024,
    normEps: 1e-6,
    activation: "silu",
    rope: { theta: 10000, llama3: null },
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    tiedEmbeddings: false,
    maxPositions: 2048,
    slidingWindow: null,
  },
  vision: null,
  imageTokenId: null,
  eosTokenIds: [2],
  bosTokenId: 1,
};

const options = { kvDtype: "f16", kvBytes: null, maxNumSeqs: 4, maxModelLen: null } as const;

Deno.test("decideSizing gives every sequence its full length when that is small", () => {
  const sizing = decideSizing(config, capabilities, options);
  // 16 slots × 2 × 4 heads × 32 × 2 B = 8 KiB a page; 2048 / 16 = 128 pages × 5 layers × 4 sequences.
  assert.equal(sizing.kv.pageBytes, 8192);
  assert.equal(sizing.kv.pageSlots, 16);
  assert.equal(sizing.kv.pageCount, 128 * 5 * 4);
  assert.equal(sizing.embeddingRows, 0);
});

Deno.test("decideSizing packs half as many f32 slots into a page of the same bytes", () => {
  const sizing = decideSizing(config, capabilities, { ...options, kvDtype: "f32" });
  assert.equal(sizing.kv.pageBytes, 8192);
  assert.equal(sizing.kv.pageSlots, 8);
});

Deno.test("decideSizing bounds a step by the largest tensor of the device", () => {
  const wide = { ...config, text: { ...config.text, intermediate: 65536 } };
  // 2^27 bytes / 4 / 131072 columns.
  assert.equal(decideSizing(wide, capabilities, options).stepTokensMax, 256);
});

Deno.test("decideSizing refuses a pool beyond the device and one below a page a layer, with the numbers", () => {
  assert.throws(
    () => decideSizing(config, capabilities, { ...options, kvBytes: 1 << 30 }),
    /1073741824.*536870912/,
  );
  assert.throws(() => decideSizing(config, capabilities, { ...options, kvBytes: 20_000 }), /40960 bytes/);
});
