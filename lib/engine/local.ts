/** The engine on a backend, in the isolate that owns the device. */
import { assert } from "../core/assert.ts";
import type { Backend, Step } from "../ops/backend.ts";
import type { KvMap, KvPages } from "../ops/kv.ts";
import type { Tensor } from "../ops/tensor.ts";
import type { Compressor } from "../model/compressor.ts";
import type { ModelConfig, WeightNames } from "../model/config.ts";
import { packBatch } from "./batch.ts";
import { packKeeps } from "./compress/keep.ts";
import { LearnedNetworks } from "./compress/networks.ts";
import { packUnpacking } from "./compress/pack.ts";
import { type Choosing, recordCompression } from "./compress/record.ts";
import { Decoder } from "./decoder.ts";
import type {
  CompressSequence,
  EncodeImage,
  Engine,
  EngineFacts,
  ForwardSequence,
  SampledToken,
} from "./engine.ts";
import { copyingObserver } from "./observe.ts";
import { Rotary } from "./rotary.ts";
import { logprobColumns, packSampling, unpackSampled } from "./sampler.ts";
import { decideSizing, type SizingOptions } from "./sizing.ts";
import { VisionEncoder } from "./vision.ts";
import type { WeightSource } from "./weights.ts";

/** What the engine needs of a model directory. */
export interface EngineModel {
  readonly config: ModelConfig;
  readonly names: WeightNames;
  readonly source: WeightSource;
  /** Of the learned method; none by default. */
  readonly compressors?: readonly Compressor[];
}

/** Intermediates by name, copied while a pass was recorded. */
export type Intermediates = Map<string, Float32Array>;

export class LocalEngine implements Engine {
  readonly facts: EngineFacts;
  readonly #backend: Backend;
  readonly #config: ModelConfig;
  readonly #decoder: Decoder;
  readonly #vision: VisionEncoder | null;
  readonly #rotary: Rotary;
  readonly #pages: KvPages;
  readonly #embeddings: Tensor | null;
  readonly #imagesPerStep: number;
  readonly #networks: readonly LearnedNetworks[];

  /** Loads weights and allocates the pool. Throws StartError for weights that are missing and pools that cannot be. */
  constructor(backend: Backend, model: EngineModel, options: SizingOptions) {
    const begun = performance.now();
    this.#backend = backend;
    this.#config = model.config;
    const { text, vision } = model.config;
    const sizing = decideSizing(model.config, backend.capabilities, options);
    this.#vision = vision === null ? null : new VisionEncoder(backend, vision, model.names, model.source);
    this.#decoder = new Decoder(backend, text, model.names, model.source);
    this.#networks = (model.compressors ?? []).map((compressor) =>
      new LearnedNetworks(backend, compressor, text.layers)
    );
    const loaded = performance.now();
    this.#rotary = new Rotary(text.rope, text.headDim);
    this.#embeddings = this.#vision === null ? null : backend.createTensor(sizing.embeddingRows, text.hidden);
    this.#pages = backend.createKvPages(sizing.kv);
    this.#imagesPerStep = this.#vision === null
      ? 0
      : Math.max(1, Math.floor(backend.capabilities.tensorBytesMax / (4 * this.#vision.elementsPerImage)));
    this.facts = {
      backend: backend.capabilities.backend,
      adapter: backend.capabilities.adapter,
      software: backend.capabilities.software,
      features: backend.capabilities.features,
      layers: text.layers,
      shape: this.#decoder.shape,
      vocabSize: text.vocab,
      kvDtype: sizing.kv.dtype,
      pageBytes: sizing.kv.pageBytes,
      pageSlots: sizing.kv.pageSlots,
      pageCount: sizing.kv.pageCount,
      embeddingRows: sizing.embeddingRows,
      stepTokensMax: sizing.stepTokensMax,
      compressors: this.#networks.map(({ facts }) => facts),
      loadMs: { weights: loaded - begun, pool: performance.now() - loaded },
    };
  }

  async encode(images: readonly EncodeImage[]): Promise<void> {
    for (let first = 0; first < images.length; first += this.#imagesPerStep) {
      await this.#run((
        step,
      ) => (this.#recordEncode(step, images.slice(first, first + this.#imagesPerStep), null), []));
    }
  }

  async forward(sequences: readonly ForwardSequence[]): Promise<(SampledToken | "not_finite" | null)[]> {
    const sampling = sequences.filter((sequence) => sequence.sampling !== null);
    const reads = await this.#run((step) => this.#recordForward(step, sequences, sampling, null));
    const results: (SampledToken | "not_finite" | null)[] = sequences.map(() => null);
    if (sampling.length === 0) return results;
    const logprobs = reads.length > 1 ? new Float32Array(reads[1]) : null;
    const tokens = unpackSampled(sampling, new Uint32Array(reads[0]), logprobs);
    let next = 0;
    return sequences.map((sequence) => sequence.sampling === null ? null : tokens[next++]);
  }

  async compress(sequences: readonly CompressSequence[]): Promise<void> {
    await this.#run((step) => (recordCompression(step, this.#compressing, sequences), []));
  }

  /**
   * As `compress`, and returns the slots chosen: a table for each sequence, rows a layer and KV head, as wide as the
   * largest kept count of its batch. `inject` holds tables to use instead, of the same widths (tests).
   */
  async observeCompression(
    sequences: readonly CompressSequence[],
    inject: ReadonlyMap<CompressSequence, Uint32Array> = new Map(),
  ): Promise<Map<CompressSequence, Uint32Array>> {
    const groups: (readonly CompressSequence[])[] = [], tables: Tensor[] = [];
    const choosing: Choosing = (step, kept, group) => {
      groups.push(group);
      tables.push(kept);
      const instead = group.flatMap((sequence) => [...inject.get(sequence) ?? []]);
      return instead.length === 0
        ? kept
        : step.uploadIndices(kept.rows, kept.cols, Uint32Array.from(instead));
    };
    const reads = await this.#run((step) => {
      recordCompression(step, this.#compressing, sequences, choosing);
      return tables;
    });
    return new Map(groups.flatMap((group, i) => {
      const table = new Uint32Array(reads[i]), share = table.length / group.length;
      return group.map((sequence, s) => [sequence, table.subarray(s * share, (s + 1) * share)] as const);
    }));
  }

  /** One picture and one prompt, with every intermediate (model parity tests). `image` may be null. */
  async observe(image: EncodeImage | null, sequence: ForwardSequence): Promise<Intermediates> {
    const out: Intermediates = new Map();
    const observed = async (record: (step: Step, copies: Map<string, Tensor>) => void) => {
      const copies = new Map<string, Tensor>();
      const reads = await this.#run((step) => (record(step, copies), [...copies.values()]));
      for (const [index, name] of [...copies.keys()].entries()) out.set(name, new Float32Array(reads[index]));
    };
    if (image !== null) {
      await observed((step, copies) => this.#recordEncode(step, [image], copies));
    }
    await observed((step, copies) => void this.#recordForward(step, [sequence], [sequence], copies));
    return out;
  }

  liveBytes(): Promise<number> {
    return Promise.resolve(this.#backend.liveBytes());
  }

  close(): Promise<void> {
    this.#backend.close();
    return Promise.resolve();
  }

  /** What compression reads of the model. */
  get #compressing() {
    return {
      pages: this.#pages,
      shape: this.#decoder.shape,
      rotary: this.#rotary,
      networks: this.#networks,
    };
  }

  async #run(record: (step: Step) => readonly Tensor[]): Promise<ArrayBuffer[]> {
    const step = this.#backend.begin();
    let reads: readonly Tensor[];
    try {
      reads = record(step);
    } catch (error) {
      step.abandon();
      throw error;
    }
    return await step.finish(reads);
  }

  #recordEncode(step: Step, images: readonly EncodeImage[], copies: Map<string, Tensor> | null): void {
    assert(this.#vision !== null && this.#embeddings !== null, "a text-only model encodes no pictures");
    const { imageSize, imageTokens } = this.#vision.config;
    const values = 3 * imageSize * imageSize;
    const pixels = new Float32Array(images.length * values);
    const rows = new Uint32Array(images.length * imageTokens);
    for (const [index, image] of images.entries()) {
      assert(image.pixels.length === values, "a picture has the tower's size");
      assert(image.embeddingRows === imageTokens, "a picture yields the tower's features");
      pixels.set(image.pixels, index * values);
      for (let i = 0; i < imageTokens; i++) rows[index * imageTokens + i] = image.embeddingRow + i;
    }
    const observe = copies === null ? null : copyingObserver(step, copies);
    const features = this.#vision.record(step, step.upload(images.length, values, pixels), observe);
    step.scatterRows({ x: features, rows: step.indices(rows), out: this.#embeddings });
    step.release(features);
  }

  #recordForward(
    step: Step,
    sequences: readonly ForwardSequence[],
    sampling: readonly ForwardSequence[],
    copies: Map<string, Tensor> | null,
  ): Tensor[] {
    const { text } = this.#config;
    const batch = packBatch(sequences, text.layers, this.#pages.shape.pageSlots);
    const tokens = batch.tokens.length;
    assert(tokens <= this.facts.stepTokensMax, "a step has no more tokens than the device can take");
    const map: KvMap = {
      indices: step.indices(batch.map),
      tokens,
      sequences: batch.sequences,
      layers: text.layers,
    };
    const logits = this.#decoder.record(step, {
      tokens: step.indices(batch.tokens),
      features: this.#embeddings,
      rotary: step.upload(tokens, text.headDim, this.#rotary.rows(batch.positions)),
      pages: this.#pages,
      map,
      keeps: packKeeps(step, sequences, this.#decoder.shape, this.#pages.shape.pageBytes),
      unpacking: packUnpacking(step, this.#pages, sequences, text.layers),
      rows: step.indices(batch.sampleRows),
    }, copies === null ? null : copyingObserver(step, copies));
    if (logits === null) return [];
    const ids = step.tensor(sampling.length, 1, "u32");
    const columns = logprobColumns(sampling);
    const logprobs = columns === 0 ? null : step.tensor(sampling.length, columns);
    step.sample({ logits, params: step.indices(packSampling(sampling)), tokens: ids, logprobs });
    step.release(logits);
    return logprobs === null ? [ids] : [ids, logprobs];
  }
}
