/**
 * A step being recorded: operations become words of a tape, which all threads run at `finish`.
 * It is longer than 400 lines because the contract of operations is one list.
 */
import { assert } from "../core/assert.ts";
import type {
  Activation,
  FoldOperands,
  HeadShape,
  KeepOperands,
  ScoreOperands,
  Step,
} from "../ops/backend.ts";
import { KV_GROUP_WORDS, type KvBits, type KvJobs, type KvMap, type KvPages } from "../ops/kv.ts";
import type { Indices, Matrix, Tensor, TensorDtype } from "../ops/tensor.ts";
import { ACTIVATIONS } from "./activation.ts";
import { segmentScratchBytes } from "./attention.ts";
import type { WasmBackend, WasmPages, WasmTensor } from "./backend.ts";
import { bitsOf } from "./bits.ts";
import { linearsOf, linearWords } from "./fold.ts";
import { mapWords } from "./map.ts";
import { scratchSize } from "./memory.ts";
import { FORMATS, PANELS_TOGETHER } from "./matmul.ts";
import { pagesWords } from "./page.ts";
import { runTape, runTapeAlone, Tape } from "./tape.ts";
import { groups } from "./quantised.ts";
import { ROW_GROUP_BYTES } from "./quantised_tile.ts";
import { isQuantised, type WasmMatrix } from "./weights.ts";

/** A part of an operation takes about 20 microseconds: short, beside what a thread may be held up for. */
const PART_PRODUCTS = 1 << 19;
const PARTS_OF_THREAD = 8;

interface WasmIndices extends Indices {
  readonly address: number;
}

const address = (tensor: Tensor | null | undefined): number => tensor ? (tensor as WasmTensor).address : 0;
const indexAddress = (indices: Indices): number => (indices as WasmIndices).address;

export class WasmStep implements Step {
  readonly #backend: WasmBackend;
  readonly #tape = new Tape();
  /** Everything taken from the arena, given back when the step ends. */
  readonly #held = new Set<number>();
  /** Sizes of scratch in use, and scratch that was released, by size. Views are not listed: they go with their tensor. */
  readonly #scratch = new Map<number, number>();
  readonly #released = new Map<number, number[]>();
  readonly #closed: () => void;

  constructor(backend: WasmBackend, closed: () => void) {
    this.#backend = backend;
    this.#closed = closed;
  }

  tensor(rows: number, cols: number, dtype: TensorDtype = "f32"): WasmTensor {
    assert(rows > 0 && cols > 0, "a tensor has rows and columns");
    return { rows, cols, dtype, address: this.#takeScratch(rows * cols * 4) };
  }

  upload(rows: number, cols: number, data: Float32Array): WasmTensor {
    const at = this.#takeUploaded(rows * cols * 4);
    this.#backend.machine.f32.set(data, at >>> 2);
    return { rows, cols, dtype: "f32", address: at };
  }

  uploadIndices(rows: number, cols: number, data: Uint32Array): WasmTensor {
    const at = this.#takeUploaded(rows * cols * 4);
    this.#backend.machine.u32.set(data, at >>> 2);
    return { rows, cols, dtype: "u32", address: at };
  }

  indices(values: Uint32Array): WasmIndices {
    const at = this.#take(values.length * 4);
    this.#backend.machine.u32.set(values, at >>> 2);
    return { values, address: at };
  }

  release(tensor: Tensor): void {
    this.#release(address(tensor));
  }

  view(tensor: Tensor, rows: number, cols: number): WasmTensor {
    assert(rows * cols === tensor.rows * tensor.cols, "a view has as many elements");
    return { rows, cols, dtype: tensor.dtype, address: address(tensor) };
  }

  embed(o: { table: Matrix; features: Tensor | null; tokens: Indices; out: Tensor }): void {
    const table = o.table as WasmMatrix;
    this.#tape.record("embed", this.#sharers(o.out.rows, 0), [
      ...[indexAddress(o.tokens), o.out.rows, table.cols, table.memory, table.address, table.panelStride],
      ...[
        FORMATS.indexOf(table.format),
        bitsOf(table.scale),
        address(o.features),
        address(o.out),
        table.rows,
      ],
    ]);
  }

  gatherRows(o: { x: Tensor; rows: Indices; out: Tensor }): void {
    const count = o.rows.values.length;
    const words = [address(o.x), indexAddress(o.rows), count, o.x.cols, address(o.out)];
    this.#tape.record("gatherRows", this.#sharers(count, 0), words);
  }

  scatterRows(o: { x: Tensor; rows: Indices; out: Tensor }): void {
    const count = o.rows.values.length;
    const words = [address(o.x), indexAddress(o.rows), count, o.x.cols, address(o.out)];
    this.#tape.record("scatterRows", this.#sharers(count, 0), words);
  }

  rmsNorm(o: { x: Tensor; weight: Tensor; eps: number; out: Tensor }): void {
    const { x, weight, eps, out } = o;
    const words = [address(x), x.rows, x.cols, address(weight), 0, bitsOf(eps), address(out)];
    this.#tape.record("rmsNorm", this.#sharers(x.rows, 4 * x.rows * x.cols), words);
  }

  layerNorm(o: { x: Tensor; weight: Tensor; bias: Tensor; eps: number; out: Tensor }): void {
    const { x, weight, bias, eps, out } = o;
    const operands = [address(x), x.rows, x.cols, address(weight), address(bias), bitsOf(eps), address(out)];
    this.#tape.record("layerNorm", this.#sharers(x.rows, 4 * x.rows * x.cols), operands);
  }

  matmul(
    o: {
      x: Tensor;
      weight: Matrix;
      bias?: Tensor | null;
      activation?: Activation;
      residual?: Tensor | null;
      out: Tensor;
    },
  ): void {
    const weight = o.weight as WasmMatrix;
    assert(
      o.x.cols === weight.cols && o.out.cols === weight.rows && o.out.rows === o.x.rows,
      "matmul shapes agree",
    );
    // Sums of one panel for all rows, and three padded copies of the last one, stay in a thread's scratch.
    assert(o.x.rows * 128 + 64 <= this.#backend.machine.scratchBytes, "a step's rows fit a thread's scratch");
    const quantised = isQuantised(weight.format) && this.#backend.dot ? this.#quantiseRows(o.x) : 0;
    const products = o.x.rows * weight.cols * weight.rows;
    this.#tape.record("matmul", this.#sharers(Math.ceil(weight.panels / PANELS_TOGETHER), products), [
      ...[
        address(o.x),
        o.x.rows,
        weight.cols,
        weight.memory,
        weight.address,
        weight.panels,
        weight.panelStride,
      ],
      ...[FORMATS.indexOf(weight.format), bitsOf(weight.scale), weight.rows, address(o.bias)],
      ...[ACTIVATIONS.indexOf(o.activation ?? "none"), address(o.residual), address(o.out), quantised],
    ]);
    if (quantised !== 0) this.#release(quantised);
  }

  gated(o: { x: Tensor; activation: Activation; out: Tensor }): void {
    const { x, activation, out } = o;
    const words = [address(x), x.rows, out.cols, ACTIVATIONS.indexOf(activation), address(out)];
    this.#tape.record("gated", this.#sharers(x.rows, 32 * x.rows * x.cols), words);
  }

  ropeWriteKv(
    o: { qkv: Tensor; rotary: Tensor; shape: HeadShape; pages: KvPages; map: KvMap; layer: number },
  ): void {
    this.#tape.record("ropeWriteKv", this.#sharers(o.qkv.rows, 8 * o.qkv.rows * o.qkv.cols), [
      ...[address(o.qkv), address(o.rotary), o.shape.heads],
      ...this.#pages(o.pages),
      ...mapWords(o.map, indexAddress(o.map.indices), o.layer),
    ]);
  }

  pagedAttention(
    o: {
      qkv: Tensor;
      shape: HeadShape;
      scale: number;
      pages: KvPages;
      map: KvMap;
      layer: number;
      out: Tensor;
    },
  ): void {
    const { heads, kvHeads } = o.shape, { tokens, sequences } = o.map;
    const units = tokens === sequences ? tokens * kvHeads : tokens * heads;
    this.#tape.record("pagedAttention", this.#sharers(units, Infinity), [
      ...[address(o.qkv), address(o.out), o.shape.heads, bitsOf(o.scale)],
      ...this.#pages(o.pages),
      ...mapWords(o.map, indexAddress(o.map.indices), o.layer),
    ]);
  }

  segmentAttention(
    o: { qkv: Tensor; shape: HeadShape; scale: number; segments: Indices; out: Tensor },
  ): void {
    const { heads, kvHeads, headDim } = o.shape;
    const bounds = o.segments.values;
    const longest = bounds.reduce((most, bound, i) => i === 0 ? 0 : Math.max(most, bound - bounds[i - 1]), 0);
    assert(
      segmentScratchBytes(longest, headDim) <= this.#backend.machine.scratchBytes,
      "the longest segment fits a thread's scratch",
    );
    this.#tape.record("segmentAttention", this.#sharers((bounds.length - 1) * kvHeads, Infinity), [
      ...[address(o.qkv), address(o.out), heads, kvHeads, headDim, bitsOf(o.scale)],
      ...[indexAddress(o.segments), bounds.length - 1],
    ]);
  }

  patchify(o: { pixels: Tensor; height: number; width: number; patch: number; out: Tensor }): void {
    const { pixels, height, width, patch, out } = o;
    const words = [address(pixels), pixels.rows, height, width, patch, address(out)];
    this.#tape.record("patchify", this.#sharers(out.rows, 0), words);
  }

  visionEmbed(
    o: { patches: Tensor; classToken: Tensor | null; positions: Tensor; images: number; out: Tensor },
  ): void {
    const { patches, classToken, positions, images, out } = o;
    this.#tape.record("visionEmbed", this.#sharers(out.rows, 0), [
      ...[
        address(patches),
        address(classToken),
        address(positions),
        images,
        positions.rows,
        out.cols,
        address(out),
      ],
    ]);
  }

  sample(o: { logits: Tensor; params: Indices; tokens: Tensor; logprobs: Tensor | null }): void {
    this.#tape.record("sample", this.#sharers(o.logits.rows, Infinity), [
      ...[address(o.logits), o.logits.rows, o.logits.cols, indexAddress(o.params), address(o.tokens)],
      ...[address(o.logprobs), o.logprobs?.cols ?? 0],
    ]);
  }

  kvNorm(o: { pages: KvPages; jobs: KvJobs; scores: Tensor }): void {
    const words = [...this.#pages(o.pages), ...this.#jobs(o.jobs), address(o.scores)];
    this.#tape.record("kvNorm", this.#heads(o.jobs, o.pages.shape.kvHeads), words);
  }

  keepQueries(o: KeepOperands): void {
    this.#tape.record("keepQueries", this.#keeping(o), this.#kept(o, 0));
  }

  keepMoments(o: KeepOperands): void {
    this.#tape.record("keepMoments", this.#keeping(o), this.#kept(o, 0));
  }

  keepColumns(o: KeepOperands & { scale: number }): void {
    this.#tape.record("keepColumns", this.#keeping(o), this.#kept(o, o.scale));
  }

  kvKeyDiff(o: { pages: KvPages; jobs: KvJobs; scores: Tensor }): void {
    this.#tape.record("kvKeyDiff", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...this.#pages(o.pages),
      ...this.#jobs(o.jobs),
      address(o.scores),
    ]);
  }

  kvLag(
    o: { pages: KvPages; jobs: KvJobs; sinks: number; lag: number; cross: boolean; scores: Tensor },
  ): void {
    this.#tape.record("kvLag", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...[...this.#pages(o.pages), ...this.#jobs(o.jobs), address(o.scores)],
      ...[o.sinks, o.lag, Number(o.cross)],
    ]);
  }

  kvWindow(o: ScoreOperands & { scale: number; window: number; kernel: number; shared: boolean }): void {
    const words = [...this.#scored(o), bitsOf(o.scale), o.window, o.kernel, Number(o.shared)];
    this.#tape.record("kvWindow", this.#heads(o.jobs, o.pages.shape.kvHeads), words);
    this.#tape.record("kvProtect", this.#heads(o.jobs, o.pages.shape.kvHeads), words);
  }

  kvExpected(
    o: ScoreOperands & {
      scale: number;
      rotary: Tensor;
      sinks: number;
      covariance: boolean;
      valueNorm: boolean;
      epsilon: number;
    },
  ): void {
    this.#tape.record("kvExpected", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...[...this.#scored(o), bitsOf(o.scale), address(o.rotary), o.sinks],
      ...[Number(o.covariance), Number(o.valueNorm), bitsOf(o.epsilon)],
    ]);
  }

  kvColumns(o: ScoreOperands & { seen: boolean; bias: Tensor | null }): void {
    this.#tape.record("kvColumns", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...this.#scored(o),
      Number(o.seen),
      address(o.bias),
    ]);
  }

  kvChunk(o: { jobs: KvJobs; kvHeads: number; chunk: number; scores: Tensor; out: Tensor }): void {
    this.#tape.record("kvChunk", this.#heads(o.jobs, o.kvHeads), [
      ...[o.kvHeads, ...this.#jobs(o.jobs), address(o.scores), address(o.out), o.chunk],
    ]);
  }

  kvMerge(o: { pages: KvPages; jobs: KvJobs; kept: Tensor }): void {
    this.#tape.record("kvMerge", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...this.#pages(o.pages),
      ...this.#jobs(o.jobs),
      address(o.kept),
    ]);
  }

  kvTop(o: { jobs: KvJobs; kvHeads: number; scores: Tensor; kept: Tensor }): void {
    this.#tape.record("kvTop", this.#heads(o.jobs, o.kvHeads), [
      ...[o.kvHeads, ...this.#jobs(o.jobs), address(o.scores), address(o.kept)],
    ]);
  }

  kvGather(o: { pages: KvPages; jobs: KvJobs; kept: Tensor; rotary?: Tensor | null }): void {
    const words = [...this.#pages(o.pages), ...this.#jobs(o.jobs), address(o.kept), address(o.rotary)];
    this.#tape.record("kvGather", this.#heads(o.jobs, o.pages.shape.kvHeads), words);
  }

  kvMean(o: { pages: KvPages; jobs: KvJobs; factor: number }): void {
    const words = [...this.#pages(o.pages), ...this.#jobs(o.jobs), o.factor];
    this.#tape.record("kvMean", this.#heads(o.jobs, o.pages.shape.kvHeads), words);
  }

  kvFold(o: FoldOperands): void {
    const count = o.groups.values.length / KV_GROUP_WORDS, units = count * o.layers.length;
    const linears = o.layers.flatMap(({ networks }) => networks).flatMap(linearsOf);
    const networks = o.layers[0].networks.length;
    const products = linears.reduce((sum, { weight }) => sum + weight.rows * weight.cols, 0) /
      Math.max(1, networks);
    this.#tape.record("kvFold", this.#sharers(units, count * o.pages.shape.kvHeads * products), [
      ...[...this.#pages(o.pages), indexAddress(o.jobs.indices) >>> 2, indexAddress(o.groups) >>> 2, count],
      ...[o.layers.length, networks, ...o.layers.map(({ layer }) => layer)],
      ...linears.flatMap((linear) => linearWords(linear, address(linear.bias))),
    ]);
  }

  kvPack(o: { pages: KvPages; jobs: KvJobs; bits: KvBits; tail: boolean }): void {
    assert(o.pages.shape.headDim % 8 === 0, "codes fill words");
    this.#tape.record("kvPack", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...[...this.#pages(o.pages), ...this.#jobs(o.jobs), o.bits, Number(o.tail)],
    ]);
  }

  kvUnpack(o: { pages: KvPages; jobs: KvJobs; bits: KvBits }): void {
    this.#tape.record("kvUnpack", this.#heads(o.jobs, o.pages.shape.kvHeads), [
      ...this.#pages(o.pages),
      ...this.#jobs(o.jobs),
      o.bits,
      0,
    ]);
  }

  finish(reads: readonly Tensor[]): Promise<ArrayBuffer[]> {
    const { machine } = this.#backend;
    const failure = this.#run();
    if (failure !== null) {
      this.abandon();
      return Promise.reject(failure);
    }
    const results = reads.map((tensor) => {
      const at = address(tensor);
      return machine.u8.slice(at, at + tensor.rows * tensor.cols * 4).buffer as ArrayBuffer;
    });
    this.abandon();
    return Promise.resolve(results);
  }

  /** Runs the tape, with the helpers or alone. */
  #run(): Error | null {
    const { machine, control, tapes } = this.#backend;
    const { words, operations } = this.#tape;
    if (words.length === 0) return null;
    if (control.threads === 1) return runTapeAlone(machine, Uint32Array.from(words));
    const tape = tapes.begin(words, operations);
    const failure = runTape(machine, machine.u32.subarray(tape, tape + words.length), control);
    return control.takeFailure() ? failure ?? new Error("a helper thread failed in this step") : failure;
  }

  abandon(): void {
    for (const at of this.#held) this.#backend.arena.give(at);
    this.#held.clear();
    this.#closed();
  }

  /** Records the quantisation of a matmul's rows; returns their address. */
  #quantiseRows(x: Tensor): number {
    const out = this.#takeScratch(x.rows * groups(x.cols) * ROW_GROUP_BYTES);
    const words = [address(x), x.rows, x.cols, out];
    this.#tape.record("quantiseRows", this.#sharers(x.rows, 8 * x.rows * x.cols), words);
    return out;
  }

  /**
   * Memory that the host writes while the step is recorded. It never comes from what this step has released: the
   * operations that still need that have not run yet.
   */
  #take(bytes: number): number {
    const at = this.#backend.arena.take(scratchSize(bytes));
    this.#held.add(at);
    return at;
  }

  /** As `#take`, for a tensor: it may be released. */
  #takeUploaded(bytes: number): number {
    const at = this.#take(bytes);
    this.#scratch.set(at, scratchSize(bytes));
    return at;
  }

  /** Memory that operations write: what an earlier operation of this step released will do. */
  #takeScratch(bytes: number): number {
    const size = scratchSize(bytes);
    const at = this.#released.get(size)?.pop() ?? this.#take(bytes);
    this.#scratch.set(at, size);
    return at;
  }

  #release(at: number): void {
    const size = this.#scratch.get(at);
    assert(size !== undefined, "scratch is released once, by the step that took it");
    this.#scratch.delete(at);
    const list = this.#released.get(size);
    if (list === undefined) this.#released.set(size, [at]);
    else list.push(at);
  }

  /** How many parts an operation of so many whole units and so many multiply-adds has. */
  #sharers(units: number, products: number): number {
    const { threads } = this.#backend.control;
    const parts = Math.max(
      threads,
      Math.min(Math.floor(products / PART_PRODUCTS), PARTS_OF_THREAD * threads),
    );
    return Math.max(1, Math.min(units, parts));
  }

  #heads(jobs: KvJobs, kvHeads: number): number {
    return this.#sharers(jobs.jobs * kvHeads, Infinity);
  }

  #keeping({ keeps, shape }: KeepOperands): number {
    return this.#sharers(keeps.count * shape.heads, Infinity);
  }

  #pages(pages: KvPages): number[] {
    return pagesWords((pages as WasmPages).address, pages.shape);
  }

  #scored(o: ScoreOperands): number[] {
    return [...this.#pages(o.pages), ...this.#jobs(o.jobs), address(o.scores), o.shape.heads];
  }

  #kept(o: KeepOperands, scale: number): number[] {
    return [
      ...[address(o.qkv), o.shape.heads, bitsOf(scale), ...this.#pages(o.pages)],
      ...mapWords(o.map, indexAddress(o.map.indices), o.layer),
      ...[indexAddress(o.keeps.indices) >>> 2, o.keeps.count, o.layer],
    ];
  }

  #jobs(jobs: KvJobs): number[] {
    return [indexAddress(jobs.indices) >>> 2, jobs.jobs, jobs.slotsMax, jobs.keptMax];
  }
}
