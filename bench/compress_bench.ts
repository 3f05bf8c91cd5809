/**
 * `deno bench`: compress steps of the default model on the wasm backend, as the scheduler makes them (through the engine's
 * worker): each method at half the slots (learned at a fifth) and packing alone, 80 and 600 prompt tokens, 1, 8 and 32 sequences a step. One group a method and
 * length; times are of the whole step. All sequences read the same prompt and write pages of their own.
 */
import { withTrained } from "../lib/engine/compress/learned.ts";
import { METHOD_NAMES } from "../lib/engine/compress/method.ts";
import { keptByLayer, needOf } from "../lib/engine/compress/mod.ts";
import { needBytes } from "../lib/engine/compress/need.ts";
import { packedByLayer, packedBytes } from "../lib/engine/compress/pack.ts";
import { parseCompression } from "../lib/engine/compress/settings.ts";
import { startEngine } from "../lib/engine/client.ts";
import type { CompressSequence, Engine } from "../lib/engine/engine.ts";

const MODEL_DIR = new URL("../deploy/model", import.meta.url).pathname;
const TOKENS = [80, 600] as const;
const BATCHES = [1, 8, 32] as const;

const engine = await startEngine({
  modelDir: MODEL_DIR,
  loadFormat: "auto",
  backend: "wasm",
  threads: Math.min(8, navigator.hardwareConcurrency),
  weights: "stored",
  kvDtype: "f16",
  kvBytes: 256 * 1024 ** 2,
  maxNumSeqs: 32,
  maxModelLen: null,
});

/** Deals pages out in order; `next` is put back when a method is done with its own. */
function deal(engine: Engine, next: { page: number }) {
  const take = (pages: number) => Uint32Array.from({ length: pages }, () => next.page++);
  return {
    pages: take,
    tables: (slots: ArrayLike<number>) =>
      Array.from(slots, (count) => take(Math.ceil(count / engine.facts.pageSlots))),
  };
}

/** Wishes by name: every method at half the slots (what was trained for the default model is a fifth), and packing alone. */
const WISHES: readonly (readonly [name: string, wish: Readonly<Record<string, unknown>>])[] = [
  ...METHOD_NAMES.filter((method) => method !== "none").map((method) =>
    [method, { method, ratio: method === "learned" ? 0.8 : 0.5 }] as const
  ),
  ["int8", { method: "none", quantize: "int8" }],
  ["int4", { method: "none", quantize: "int4" }],
];

/** A prefilled prompt of which `count` sequences make their own compressed copy. */
async function sequences(
  wish: Readonly<Record<string, unknown>>,
  tokens: number,
  count: number,
): Promise<CompressSequence[]> {
  const { layers, shape, kvDtype: dtype, pageBytes, pageSlots } = engine.facts;
  const { pages, tables } = deal(engine, { page: 0 });
  const parsed = parseCompression(wish);
  if (!parsed.ok) throw new Error(parsed.problem.message);
  const trained = withTrained(parsed.compression, engine.facts.compressors);
  if ("problem" in trained) throw new Error(trained.problem);
  const { compression } = trained, { quantise } = compression, need = needOf(compression);
  const slots = new Uint32Array(layers).fill(tokens), images = [{ first: 5, count: 64 }];
  const kept = keptByLayer(compression, { slots, images }), sourceTables = tables(slots);
  const bytes = (count: number) => pages(Math.ceil(count / pageBytes));
  const keep = need === null
    ? null
    : { need, pages: bytes(needBytes(need, shape, layers, tokens)), promptTokens: tokens };
  await engine.forward([{
    tokens: Uint32Array.from({ length: tokens }, (_, i) => 10 + (i * 7) % 900),
    positions: Uint32Array.from({ length: 3 * tokens }, (_, i) => Math.floor(i / 3)),
    slotBase: new Uint32Array(layers),
    pageTables: sourceTables,
    sampling: null,
    sampled: 0,
    keep,
  }]);
  const packed = packedByLayer(kept);
  return Array.from({ length: count }, (_, i) => ({
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

for (const [name, wish] of WISHES) {
  for (const tokens of TOKENS) {
    for (const batch of BATCHES) {
      let prepared: readonly CompressSequence[] | null = null;
      Deno.bench({
        group: `${name} ${tokens}`,
        name: `${name} ${tokens} tokens, ${batch} sequences`,
        baseline: batch === 1,
        n: batch === 1 ? 40 : 6,
        warmup: 3,
        async fn(b) {
          prepared ??= await sequences(wish, tokens, batch);
          b.start();
          await engine.compress(prepared);
          b.end();
        },
      });
    }
  }
}
