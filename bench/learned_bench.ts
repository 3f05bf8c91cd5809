/**
 * `deno bench`: the learned method on the default model's shapes, prompts of 81 tokens with one picture, 1, 8 and 32 in a
 * batch. Beside it its products alone, nothing read, copied or written: as `matmul` takes the same matrices and rows (the
 * baseline), and as many multiply-adds in one wide product, the best rate that `matmul` has here.
 */
import {
  keptOfSegments,
  layerFacts,
  type LearnedFacts,
  segmentsOf,
} from "../lib/engine/compress/segments.ts";
import { packJobs } from "../lib/engine/compress/record.ts";
import { LearnedNetworks } from "../lib/engine/compress/networks.ts";
import { usualCompression } from "../lib/engine/compress/mod.ts";
import type { CompressSequence } from "../lib/engine/engine.ts";
import {
  COMPRESSOR_KINDS,
  COMPRESSOR_LINEARS,
  compressorTensor,
  uniformFactors,
} from "../lib/model/compressor.ts";
import type { StoredTensor } from "../lib/model/safetensors.ts";
import type { Backend, Step } from "../lib/ops/backend.ts";
import type { Matrix, Tensor } from "../lib/ops/tensor.ts";
import { WasmBackend } from "../lib/wasm/backend.ts";

const SHAPE = { layers: 5, kvHeads: 4, headDim: 32 };
const FACTS: LearnedFacts = { factor: 5, minGroups: 2, factors: uniformFactors(5, SHAPE.layers) };
const SLOTS = 81, IMAGES = [{ first: 5, count: 64 }];
const PAGE_SLOTS = 16, PAGES = Math.ceil(SLOTS / PAGE_SLOTS);

const threads = Math.min(8, navigator.hardwareConcurrency);
const backend: Backend = await WasmBackend.create({ threads, weightBytes: 1 << 24 });
const segments = segmentsOf(SLOTS, IMAGES, layerFacts(FACTS, 0)), kept = keptOfSegments(segments);
const pages = backend.createKvPages({
  ...{ dtype: "f16", kvHeads: SHAPE.kvHeads, headDim: SHAPE.headDim, pageSlots: PAGE_SLOTS },
  pageBytes: PAGE_SLOTS * 2 * SHAPE.kvHeads * SHAPE.headDim * 2,
  pageCount: 2 * 32 * SHAPE.layers * PAGES,
});

function zeros(shape: readonly number[]): StoredTensor {
  return { dtype: "f16", shape, read: (_, bytes) => new Uint8Array(bytes) };
}

function compressor() {
  const { headDim, layers } = SHAPE;
  const tensors = new Map<string, StoredTensor>();
  for (const kind of COMPRESSOR_KINDS) {
    for (let layer = 0; layer < layers; layer++) {
      for (const linear of COMPRESSOR_LINEARS) {
        const cols = linear === 0 ? FACTS.factor * headDim : headDim;
        tensors.set(compressorTensor(kind, layer, linear, "weight"), zeros([headDim, cols]));
        tensors.set(compressorTensor(kind, layer, linear, "bias"), zeros([headDim]));
      }
    }
  }
  return { ...FACTS, tensors };
}

function sequence(index: number): CompressSequence {
  const table = (first: number) =>
    Array.from(
      { length: SHAPE.layers },
      (_, layer) => Uint32Array.from({ length: PAGES }, (_, p) => first + layer * PAGES + p),
    );
  return {
    compression: usualCompression("learned", 0.8),
    slots: new Uint32Array(SHAPE.layers).fill(SLOTS),
    kept: new Uint32Array(SHAPE.layers).fill(kept),
    sourceTables: table(2 * index * SHAPE.layers * PAGES),
    targetTables: table((2 * index + 1) * SHAPE.layers * PAGES),
    ...{ keep: null, packed: null, seed: [0, 0], images: IMAGES },
  };
}

const networks = new LearnedNetworks(backend, compressor(), SHAPE.layers);
const { headDim } = SHAPE;
const first: Matrix = backend.createMatrix(headDim, FACTS.factor * headDim, "f32");
const second: Matrix = backend.createMatrix(headDim, headDim, "f32");
const bias = backend.createTensor(1, headDim);

const prepared = Array.from({ length: 32 }, (_, index) => sequence(index));

function compress(step: Step, batch: number): Tensor[] {
  const prompts = prepared.slice(0, batch);
  const { words, ...counts } = packJobs(prompts, { ...SHAPE, heads: SHAPE.kvHeads });
  networks.record({ step, pages, jobs: { ...counts, indices: step.indices(words) }, prompts });
  return [];
}

function multiply(step: Step, batch: number): Tensor[] {
  for (const { groups } of segments) {
    if (groups === 0) continue;
    const rows = batch * groups * SHAPE.kvHeads;
    const x = step.tensor(rows, FACTS.factor * headDim),
      y = step.tensor(rows, headDim),
      z = step.tensor(rows, headDim);
    // Keys and values of every layer.
    for (let i = 0; i < 2 * SHAPE.layers; i++) {
      step.matmul({ x, weight: first, bias, activation: "relu", out: y });
      step.matmul({ x: y, weight: second, bias, activation: "relu", out: z });
      step.matmul({ x: z, weight: second, bias, out: y });
    }
  }
  return [];
}

/** Inputs of the wide product, and its rows for one prompt. */
const WIDE_COLS = 256, WIDE_ROWS = 8;
/** Multiply-adds of one prompt. */
const PRODUCTS = 2 * SHAPE.layers * SHAPE.kvHeads * (FACTS.factor + 2) * headDim ** 2 *
  segments.reduce((sum, { groups }) => sum + groups, 0);
const wide: Matrix = backend.createMatrix(Math.round(PRODUCTS / WIDE_COLS / WIDE_ROWS), WIDE_COLS, "f32");

function multiplyWide(step: Step, batch: number): Tensor[] {
  const x = step.tensor(batch * WIDE_ROWS, WIDE_COLS);
  step.matmul({ x, weight: wide, out: step.tensor(x.rows, wide.rows) });
  return [];
}

for (const batch of [1, 8, 32]) {
  const records = [["products alone", multiply], ["one wide product", multiplyWide], [
    "learned",
    compress,
  ]] as const;
  for (const [name, record] of records) {
    Deno.bench({
      group: `${batch} in a batch`,
      name: `${batch}: ${name}`,
      baseline: record === multiply,
      fn: async () => {
        const step = backend.begin();
        record(step, batch);
        await step.finish([]);
      },
    });
  }
}
