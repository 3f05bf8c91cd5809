/**
 * `deno run -A bench/compress.ts`: what compress steps of the default model take a sequence, through the engine's worker as
 * the scheduler makes them: 32 sequences one by one, 8 and 32 in a step, in turns, at half the slots (learned at a fifth), and
 * packing alone. All sequences read the same prompt and write pages of their own. Steps of WebGPU end when the device has only
 * taken them, so 32 sequences are followed by a token of another one, whose own time is taken off. Prints a table.
 */
import { parseArgs } from "node:util";
import { withTrained } from "../lib/engine/compress/learned.ts";
import { METHOD_NAMES } from "../lib/engine/compress/method.ts";
import { keptByLayer, needOf } from "../lib/engine/compress/mod.ts";
import { needBytes } from "../lib/engine/compress/need.ts";
import { packedByLayer, packedBytes } from "../lib/engine/compress/pack.ts";
import { parseCompression } from "../lib/engine/compress/settings.ts";
import { startEngine } from "../lib/engine/client.ts";
import type { CompressSequence, ForwardSequence } from "../lib/engine/engine.ts";
import { commitName, machineName } from "./machine.ts";
import { listOrNull, oneOf, wholeOf } from "./options.ts";
import { percentile } from "./percentile.ts";

const MODEL_DIR = new URL("../deploy/model", import.meta.url).pathname;
const SEQUENCES = 32;
const BATCHES = [1, 8, 32] as const;
const ROUNDS_BEFORE = 1;

/** Wishes by name: every method at half the slots (what was trained for the default model is a fifth), and packing alone. */
const WISHES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  ...Object.fromEntries(
    METHOD_NAMES.filter((method) => method !== "none").map((method) => [
      method,
      { method, ratio: method === "learned" ? 0.8 : 0.5 },
    ]),
  ),
  // At 80 tokens the usual window of 64 leaves nothing to score.
  "snapkv, window 8": { method: "snapkv", ratio: 0.5, window_size: 8 },
  int8: { method: "none", quantize: "int8" },
  int4: { method: "none", quantize: "int4" },
};

const { values: flags } = parseArgs({
  options: {
    backend: { type: "string", default: "wasm" },
    tokens: { type: "string", default: "80,600" },
    methods: { type: "string", default: Object.keys(WISHES).join(";") },
    rounds: { type: "string", default: "9" },
  },
});
const backend = oneOf(flags.backend, "backend", ["wasm", "webgpu"]);
const names = flags.methods.split(";").map((name) => oneOf(name, "methods", Object.keys(WISHES)));
const lengths = listOrNull(flags.tokens, "tokens", wholeOf)!, rounds = wholeOf(flags.rounds, "rounds");

const engine = await startEngine({
  modelDir: MODEL_DIR,
  loadFormat: "auto",
  backend,
  threads: Math.min(8, navigator.hardwareConcurrency),
  weights: "stored",
  kvDtype: "f16",
  kvBytes: 256 * 1024 ** 2,
  maxNumSeqs: SEQUENCES,
  maxModelLen: null,
});
const { layers, shape, kvDtype: dtype, pageBytes, pageSlots } = engine.facts;

/** A sequence's part of a forward step: `tokens` of a prompt from its beginning. */
function prompt(
  tokens: number,
  pageTables: readonly Uint32Array[],
  more: Pick<ForwardSequence, "sampling" | "keep">,
): ForwardSequence {
  return {
    tokens: Uint32Array.from({ length: tokens }, (_, i) => 10 + (i * 7) % 900),
    positions: Uint32Array.from({ length: 3 * tokens }, (_, i) => Math.floor(i / 3)),
    slotBase: new Uint32Array(layers),
    pageTables,
    sampled: 0,
    ...more,
  };
}

/** The lowest pages are the other sequence's; the rest are dealt out anew for each case. */
const OWN_TABLES = Array.from({ length: layers }, (_, page) => Uint32Array.of(page));
const OWN = prompt(1, OWN_TABLES, {
  sampling: { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [0, 0], logprobs: null },
});

/** A prefilled prompt of which 32 sequences make their own compressed copies. */
async function sequences(
  wish: Readonly<Record<string, unknown>>,
  tokens: number,
): Promise<CompressSequence[]> {
  let page = layers;
  const pages = (count: number) => Uint32Array.from({ length: count }, () => page++);
  const tables = (slots: ArrayLike<number>) =>
    Array.from(slots, (count) => pages(Math.ceil(count / pageSlots)));
  const bytes = (count: number) => pages(Math.ceil(count / pageBytes));
  const parsed = parseCompression(wish);
  if (!parsed.ok) throw new Error(parsed.problem.message);
  const trained = withTrained(parsed.compression, engine.facts.compressors);
  if ("problem" in trained) throw new Error(trained.problem);
  const { compression } = trained, { quantise } = compression, need = needOf(compression);
  const slots = new Uint32Array(layers).fill(tokens), images = [{ first: 5, count: 64 }];
  const kept = keptByLayer(compression, { slots, images }), sourceTables = tables(slots);
  const keep = need === null
    ? null
    : { need, pages: bytes(needBytes(need, shape, layers, tokens)), promptTokens: tokens };
  await engine.forward([prompt(tokens, sourceTables, { sampling: null, keep })]);
  const packed = packedByLayer(kept);
  return Array.from({ length: SEQUENCES }, (_, i) => ({
    ...{ compression, slots, kept, sourceTables, keep, images },
    targetTables: tables(kept),
    packed: quantise === null ? null : {
      bits: quantise.bits,
      slots: packed,
      pages: bytes(packedBytes({ ...shape, dtype }, quantise.bits, packed)),
      room: pages(packed[0] / pageSlots),
    },
    seed: [i, 0] as const,
  }));
}

/** Milliseconds until all 32 are compressed, `batch` a step, and the device has done it. */
async function timed(all: readonly CompressSequence[], batch: number): Promise<number> {
  const begun = performance.now();
  for (let first = 0; first < all.length; first += batch) {
    await engine.compress(all.slice(first, first + batch));
  }
  if (backend === "webgpu") await engine.forward([OWN]);
  return performance.now() - begun;
}

const lines = [
  `| method | ${
    lengths.map((tokens) => `${tokens} tokens: ${BATCHES.map((batch) => `×${batch}`).join(" | ")} | ratio`)
      .join(" | ")
  } |`,
];
lines.push(`| --- |${" --- |".repeat(lengths.length * (BATCHES.length + 1))}`);
for (const name of names) {
  const cells: string[] = [];
  for (const tokens of lengths) {
    const all = await sequences(WISHES[name], tokens), times = BATCHES.map((): number[] => []);
    const own: number[] = [];
    for (let round = 0; round < ROUNDS_BEFORE + rounds; round++) {
      const took = [await timed([], 1)];
      for (const batch of BATCHES) took.push(await timed(all, batch));
      if (round < ROUNDS_BEFORE) continue;
      own.push(took[0]);
      for (let i = 0; i < BATCHES.length; i++) times[i].push(took[i + 1]);
    }
    const rest = percentile(own, 0.5);
    const each = times.map((ms) => (percentile(ms, 0.5) - rest) / SEQUENCES);
    cells.push(...each.map((ms) => ms.toFixed(3)), (each[BATCHES.length - 1] / each[0]).toFixed(2));
  }
  lines.push(`| ${[name, ...cells].join(" | ")} |`);
}
await engine.close();
console.log(
  `${backend}, ${machineName()}, commit ${commitName()}, ms a sequence, medians of ${rounds} rounds\n`,
);
console.log(lines.join("\n"));
