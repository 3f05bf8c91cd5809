/**
 * `deno bench`: engine time of the default model, without HTTP, tokenizer and picture decoding: one picture, a prefill of
 * 80 tokens, a decode step of 1, 4 and 16 sequences at 100 slots. One group a stage; the wasm backend is the baseline.
 */
import { LocalEngine } from "../lib/engine/local.ts";
import type { Engine, ForwardSequence, SamplingParams } from "../lib/engine/engine.ts";
import { createGpuBackend } from "../lib/gpu/backend.ts";
import { findAdapter } from "../lib/gpu/device.ts";
import { openModel } from "../lib/model/directory.ts";
import type { Backend } from "../lib/ops/backend.ts";
import { WasmBackend } from "../lib/wasm/backend.ts";

const MODEL_DIR = new URL("../deploy/model", import.meta.url).pathname;
const GREEDY: SamplingParams = { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [0, 0], logprobs: null };
const PROMPT_TOKENS = 80;
const DECODE_SLOTS = 100;

const model = await openModel(MODEL_DIR);
const cores = Math.min(8, navigator.hardwareConcurrency);

interface Candidate {
  readonly name: string;
  readonly open: () => Promise<Backend>;
}

const candidates: Candidate[] = [
  {
    name: `wasm, ${cores} threads`,
    open: () => WasmBackend.create({ threads: cores, weightBytes: 1 << 24 }),
  },
  { name: "wasm, 1 thread", open: () => WasmBackend.create({ threads: 1, weightBytes: 1 << 24 }) },
];
for (const quantise of ["int8", "int4"] as const) {
  for (const family of ["dot", "exact"] as const) {
    candidates.push({
      name: `wasm, ${cores} threads, ${quantise} ${family}`,
      open: () => WasmBackend.create({ threads: cores, weightBytes: 1 << 24, quantise, family }),
    });
  }
}
const { facts } = await findAdapter();
if (facts !== null) candidates.push({ name: `webgpu, ${facts.name}`, open: () => createGpuBackend() });

/** A part of `tokens` tokens behind `stored` slots, in pages of its own. */
function part(engine: Engine, index: number, tokens: number, stored: number): ForwardSequence {
  const { layers, pageSlots } = engine.facts;
  const pages = Math.ceil(128 / pageSlots);
  return {
    tokens: Uint32Array.from({ length: tokens }, (_, i) => 10 + (i * 7) % 900),
    positions: Uint32Array.from({ length: 3 * tokens }, (_, i) => stored + Math.floor(i / 3)),
    slotBase: new Uint32Array(layers).fill(stored),
    pageTables: Array.from(
      { length: layers },
      (_, layer) => Uint32Array.from({ length: pages }, (_, p) => (index * layers + layer) * pages + p),
    ),
    sampling: GREEDY,
    sampled: 0,
  };
}

for (const [index, { name, open }] of candidates.entries()) {
  const engine = new LocalEngine(await open(), model, {
    kvDtype: "f16",
    kvBytes: null,
    maxNumSeqs: 32,
    maxModelLen: null,
  });
  const { imageSize, imageTokens } = model.config.vision!;
  const pixels = Float32Array.from({ length: 3 * imageSize ** 2 }, (_, i) => Math.sin(i));
  const image = { pixels, height: imageSize, width: imageSize, embeddingRow: 0, embeddingRows: imageTokens };
  const baseline = index === 0;
  const bench = (group: string, run: () => Promise<unknown>) =>
    Deno.bench({ group, name: `${group}: ${name}`, baseline, fn: async () => void await run() });
  for (let i = 0; i < 16; i++) await engine.forward([part(engine, i, DECODE_SLOTS, 0)]);
  bench("picture", () => engine.encode([image]));
  bench("prefill 80", () => engine.forward([part(engine, 0, PROMPT_TOKENS, 0)]));
  for (const batch of [1, 4, 16]) {
    const sequences = Array.from({ length: batch }, (_, i) => part(engine, i, 1, DECODE_SLOTS));
    bench(`decode of ${batch}`, () => engine.forward(sequences));
  }
}
