/** One step of the contract, recorded for the device: each operation goes to the file that knows its kernels. */
import { assert } from "../core/assert.ts";
import type {
  Activation,
  FoldOperands,
  HeadShape,
  KeepOperands,
  ScoreOperands,
  Step,
} from "../ops/backend.ts";
import type { KvBits, KvJobs, KvKeeps, KvMap, KvPages } from "../ops/kv.ts";
import type { Indices, Matrix, Tensor, TensorDtype } from "../ops/tensor.ts";
import { recordPagedAttention, recordRopeWriteKv, recordSegmentAttention } from "./attention.ts";
import {
  recordKvGather,
  recordKvMean,
  recordKvMerge,
  recordKvPack,
  recordKvTop,
  recordKvUnpack,
} from "./compression.ts";
import { recordGated, recordMatmul } from "./dense.ts";
import { recordKvFold } from "./fold.ts";
import { recordKeepColumns, recordKeepMoments, recordKeepQueries } from "./keeping.ts";
import { recordLayerNorm, recordRmsNorm } from "./norms.ts";
import type { GpuIndices, GpuKvPages, GpuMatrix, GpuTensor } from "./recorder.ts";
import type { Recording } from "./recording.ts";
import { recordEmbed, recordGatherRows, recordScatterRows } from "./rows.ts";
import { recordSample } from "./sampling.ts";
import {
  recordKvChunk,
  recordKvColumns,
  recordKvExpected,
  recordKvKeyDiff,
  recordKvLag,
  recordKvNorm,
  recordKvWindow,
} from "./scoring.ts";
import { recordPatchify, recordVisionEmbed } from "./vision.ts";

/** Operands as the device holds them. */
type OnGpu<O> = { [K in keyof O]: Held<O[K]> };
type Held<V> = V extends Tensor ? GpuTensor
  : V extends Matrix ? GpuMatrix
  : V extends Indices ? GpuIndices
  : V extends KvPages ? GpuKvPages
  : V extends KvMap | KvJobs | KvKeeps ? V & { readonly indices: GpuIndices }
  : V;

/** Handles are opaque above and made by this backend alone, so every one of them is one of ours. */
function held<O extends object>(operands: O): OnGpu<O> {
  return operands as unknown as OnGpu<O>;
}

export class GpuStep implements Step {
  readonly #recording: Recording;
  readonly #onEnd: () => void;

  /** `onEnd` is called once, when the step is finished or abandoned. */
  constructor(recording: Recording, onEnd: () => void) {
    this.#recording = recording;
    this.#onEnd = onEnd;
  }

  tensor(rows: number, cols: number, dtype: TensorDtype = "f32"): Tensor {
    return this.#recording.scratch(rows, cols, dtype);
  }

  upload(rows: number, cols: number, data: Float32Array): Tensor {
    return this.#uploaded(rows, cols, "f32", data);
  }

  uploadIndices(rows: number, cols: number, data: Uint32Array): Tensor {
    return this.#uploaded(rows, cols, "u32", data);
  }

  indices(values: Uint32Array): Indices {
    return this.#recording.upload(values);
  }

  release(tensor: Tensor): void {
    this.#recording.release(tensor as GpuTensor);
  }

  view(tensor: Tensor, rows: number, cols: number): Tensor {
    assert(rows * cols === tensor.rows * tensor.cols, "a view has as many elements as its tensor");
    const { dtype, buffer } = tensor as GpuTensor;
    const viewed: GpuTensor = { rows, cols, dtype, buffer };
    return viewed;
  }

  embed(o: { table: Matrix; features: Tensor | null; tokens: Indices; out: Tensor }): void {
    recordEmbed(this.#recording, held(o));
  }

  gatherRows(o: { x: Tensor; rows: Indices; out: Tensor }): void {
    recordGatherRows(this.#recording, held(o));
  }

  scatterRows(o: { x: Tensor; rows: Indices; out: Tensor }): void {
    recordScatterRows(this.#recording, held(o));
  }

  rmsNorm(o: { x: Tensor; weight: Tensor; eps: number; out: Tensor }): void {
    recordRmsNorm(this.#recording, held(o));
  }

  layerNorm(o: { x: Tensor; weight: Tensor; bias: Tensor; eps: number; out: Tensor }): void {
    recordLayerNorm(this.#recording, held(o));
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
    recordMatmul(this.#recording, held(o));
  }

  gated(o: { x: Tensor; activation: Activation; out: Tensor }): void {
    recordGated(this.#recording, held(o));
  }

  ropeWriteKv(
    o: { qkv: Tensor; rotary: Tensor; shape: HeadShape; pages: KvPages; map: KvMap; layer: number },
  ): void {
    recordRopeWriteKv(this.#recording, held(o));
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
    recordPagedAttention(this.#recording, held(o));
  }

  segmentAttention(
    o: { qkv: Tensor; shape: HeadShape; scale: number; segments: Indices; out: Tensor },
  ): void {
    recordSegmentAttention(this.#recording, held(o));
  }

  patchify(o: { pixels: Tensor; height: number; width: number; patch: number; out: Tensor }): void {
    recordPatchify(this.#recording, held(o));
  }

  visionEmbed(
    o: { patches: Tensor; classToken: Tensor | null; positions: Tensor; images: number; out: Tensor },
  ): void {
    recordVisionEmbed(this.#recording, held(o));
  }

  sample(o: { logits: Tensor; params: Indices; tokens: Tensor; logprobs: Tensor | null }): void {
    recordSample(this.#recording, held(o));
  }

  kvNorm(o: { pages: KvPages; jobs: KvJobs; scores: Tensor }): void {
    recordKvNorm(this.#recording, held(o));
  }

  keepQueries(o: KeepOperands): void {
    recordKeepQueries(this.#recording, held(o));
  }

  keepMoments(o: KeepOperands): void {
    recordKeepMoments(this.#recording, held(o));
  }

  keepColumns(o: KeepOperands & { scale: number }): void {
    recordKeepColumns(this.#recording, held(o));
  }

  kvKeyDiff(o: { pages: KvPages; jobs: KvJobs; scores: Tensor }): void {
    recordKvKeyDiff(this.#recording, held(o));
  }

  kvLag(
    o: { pages: KvPages; jobs: KvJobs; sinks: number; lag: number; cross: boolean; scores: Tensor },
  ): void {
    recordKvLag(this.#recording, held(o));
  }

  kvWindow(o: ScoreOperands & { scale: number; window: number; kernel: number; shared: boolean }): void {
    recordKvWindow(this.#recording, held(o));
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
    recordKvExpected(this.#recording, held(o));
  }

  kvColumns(o: ScoreOperands & { seen: boolean; bias: Tensor | null }): void {
    recordKvColumns(this.#recording, held(o));
  }

  kvChunk(o: { jobs: KvJobs; kvHeads: number; chunk: number; scores: Tensor; out: Tensor }): void {
    recordKvChunk(this.#recording, held(o));
  }

  kvMerge(o: { pages: KvPages; jobs: KvJobs; kept: Tensor }): void {
    recordKvMerge(this.#recording, held(o));
  }

  kvTop(o: { jobs: KvJobs; kvHeads: number; scores: Tensor; kept: Tensor }): void {
    recordKvTop(this.#recording, held(o));
  }

  kvGather(o: { pages: KvPages; jobs: KvJobs; kept: Tensor; rotary?: Tensor | null }): void {
    recordKvGather(this.#recording, held(o));
  }

  kvMean(o: { pages: KvPages; jobs: KvJobs; factor: number }): void {
    recordKvMean(this.#recording, held(o));
  }

  kvFold(o: FoldOperands): void {
    recordKvFold(this.#recording, held(o));
  }

  kvPack(o: { pages: KvPages; jobs: KvJobs; bits: KvBits; tail: boolean }): void {
    recordKvPack(this.#recording, held(o));
  }

  kvUnpack(o: { pages: KvPages; jobs: KvJobs; bits: KvBits }): void {
    recordKvUnpack(this.#recording, held(o));
  }

  async finish(reads: readonly Tensor[]): Promise<ArrayBuffer[]> {
    try {
      return await this.#recording.finish(reads as readonly GpuTensor[]);
    } finally {
      this.#onEnd();
    }
  }

  abandon(): void {
    this.#recording.close();
    this.#onEnd();
  }

  #uploaded(rows: number, cols: number, dtype: TensorDtype, data: Float32Array | Uint32Array): GpuTensor {
    assert(data.length === rows * cols, `an upload of ${rows} × ${cols} has as many values`);
    return { rows, cols, dtype, buffer: this.#recording.uploadBytes(data) };
  }
}
