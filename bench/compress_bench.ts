/**
 * `deno bench`: compress steps of the default model on the wasm backend, as the scheduler makes them (through the engine's
 * worker): each method at half the slots, 80 and 600 prompt tokens, 1, 8 and 32 sequences a step. One group a method and
 * length; times are of the whole step. All sequences read the same prompt and write pages of their own.
 */
import { METHOD_NAMES, type MethodName } from "../lib/engine/compress/method.ts";
import { keptByLayer, needOf, usualCompression } from "../lib/engine/compress/mod.ts";
import { needBytes } from "../lib/engine/compress/need.ts";
import { startEngine } from "../lib/engine/client.ts";
import type { CompressSequence, Engine } from "../lib/engine/engine.ts";

const MODEL_DIR = new URL("../deploy/model", import.meta.url).pathname;
const TOKENS = [80, 600] as const;
const BATCHES = [1, 8, 32] as const;

const engine = await startEngine({
  modelDir: MODEL_DIR,
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

/** A prefilled prompt of which `count` sequences make their own compressed copy. */
async function sequences(method: MethodName, tokens: number, count: number): Promise<CompressSequence[]> {
  const { layers, shape, pageBytes } = engine.facts, { pages, tables } = deal(engine, { page: 0 });
  const compression = usualCompression(method, 0.5), need = needOf(compression);
  const slots = new Uint32Array(layers).fill(tokens), images = [{ first: 5, count: 64 }];
  const kept = keptByLayer(compression, { slots, images }), sourceTables = tables(slots);
  const keep = need === null ? null : {
    need,
    pages: pages(Math.ceil(needBytes(need, shape, layers, tokens) / pageBytes)),
    promptTokens: tokens,
  };
  await engine.forward([{
    tokens: Uint32Array.from({ length: tokens }, (_, i) => 10 + (i * 7) % 900),
    positions: Uint32Array.from({ length: 3 * tokens }, (_, i) => Math.floor(i / 3)),
    slotBase: new Uint32Array(layers),
    pageTables: sourceTables,
    sampling: null,
    sampled: 0,
    keep,
  }]);
  return Array.from({ length: count }, (_, i) => ({
    ...{ compression, slots, kept, sourceTables, keep, images, packed: null },
    targetTables: tables(kept),
    seed: [i, 0] as const,
  }));
}

for (const method of METHOD_NAMES) {
  for (const tokens of TOKENS) {
    for (const batch of BATCHES) {
      let prepared: readonly CompressSequence[] | null = null;
      Deno.bench({
        group: `${method} ${tokens}`,
        name: `${method} ${tokens} tokens, ${batch} sequences`,
        baseline: batch === 1,
        n: batch === 1 ? 60 : 10,
        warmup: 4,
        async fn(b) {
          prepared ??= await sequences(method, tokens, batch);
          b.start();
          await engine.compress(prepared);
          b.end();
        },
      });
    }
  }
}
