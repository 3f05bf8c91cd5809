/**
 * The oracle: every operation of the contract in plain f64 TypeScript. Operations run when they are called. It is
 * stricter than a device: wrong shapes, objects that were given back and scratch that nothing wrote show at once.
 */
import { assert } from "../../lib/core/assert.ts";
import type { Backend, Capabilities, Step } from "../../lib/ops/backend.ts";
import type { KvPages, KvShape } from "../../lib/ops/kv.ts";
import type { Indices, Matrix, MatrixDtype, Tensor, TensorDtype } from "../../lib/ops/tensor.ts";
import { embed } from "./embed.ts";
import { gated } from "./gated.ts";
import { gatherRows } from "./gather_rows.ts";
import { keepColumns } from "./keep_columns.ts";
import { keepMoments } from "./keep_moments.ts";
import { keepQueries } from "./keep_queries.ts";
import { kvChunk } from "./kv_chunk.ts";
import { kvColumns } from "./kv_columns.ts";
import { kvExpected } from "./kv_expected.ts";
import { kvKeyDiff } from "./kv_key_diff.ts";
import { kvLag } from "./kv_lag.ts";
import { kvMerge } from "./kv_merge.ts";
import { kvWindow } from "./kv_window.ts";
import { kvFold } from "./kv_fold.ts";
import { kvGather } from "./kv_gather.ts";
import { kvMean } from "./kv_mean.ts";
import { kvNorm } from "./kv_norm.ts";
import { HostKvPages, pool } from "./kv_pages.ts";
import { kvPack } from "./kv_pack.ts";
import { kvUnpack } from "./kv_unpack.ts";
import { kvTop } from "./kv_top.ts";
import { layerNorm } from "./layer_norm.ts";
import { matmul } from "./matmul.ts";
import { HostMatrix, weights } from "./matrix.ts";
import { pagedAttention } from "./paged_attention.ts";
import { patchify } from "./patchify.ts";
import { rmsNorm } from "./rms_norm.ts";
import { ropeWriteKv } from "./rope_write_kv.ts";
import { sample } from "./sample.ts";
import { scatterRows } from "./scatter_rows.ts";
import { segmentAttention } from "./segment_attention.ts";
import { host, HostIndices, HostTensor } from "./tensor.ts";
import { visionEmbed } from "./vision_embed.ts";

export class ReferenceBackend implements Backend {
  readonly capabilities: Capabilities = {
    backend: "reference",
    adapter: "f64 TypeScript",
    software: true,
    features: [],
    kvBytesMax: 2 ** 30,
    tensorBytesMax: 2 ** 28,
  };
  #step: ReferenceStep | null = null;
  #bytes = 0;

  createTensor(rows: number, cols: number, data?: Float32Array): Tensor {
    const tensor = HostTensor.of(rows, cols, data ?? new Float32Array(rows * cols));
    this.#bytes += tensor.storage.values.byteLength;
    return tensor;
  }

  createMatrix(rows: number, cols: number, dtype: MatrixDtype): Matrix {
    const matrix = new HostMatrix(rows, cols, dtype);
    this.#bytes += matrix.values.byteLength;
    return matrix;
  }

  writeMatrix(matrix: Matrix, firstRow: number, bytes: Uint8Array): void {
    weights(matrix).write(firstRow, bytes);
  }

  createKvPages(shape: KvShape): KvPages {
    const pages = new HostKvPages(shape);
    this.#bytes += pages.values.byteLength;
    return pages;
  }

  destroyTensor(tensor: Tensor): void {
    const { storage } = host(tensor);
    storage.live = false;
    this.#bytes -= storage.values.byteLength;
  }

  destroyMatrix(matrix: Matrix): void {
    const held = weights(matrix);
    held.live = false;
    this.#bytes -= held.values.byteLength;
  }

  destroyKvPages(pages: KvPages): void {
    const held = pool(pages);
    held.live = false;
    this.#bytes -= held.values.byteLength;
  }

  begin(): Step {
    assert(this.#step === null, "at most one step is open at a time");
    this.#step = new ReferenceStep(() => this.#step = null);
    return this.#step;
  }

  /** Bytes of the f64 numbers it holds, scratch included. */
  liveBytes(): number {
    return this.#bytes + (this.#step?.bytes() ?? 0);
  }

  close(): void {
    assert(this.#step === null, "no step is open");
  }
}

class ReferenceStep implements Step {
  readonly #end: () => void;
  readonly #scratch = new Set<HostTensor>();

  readonly embed = embed;
  readonly gatherRows = gatherRows;
  readonly scatterRows = scatterRows;
  readonly rmsNorm = rmsNorm;
  readonly layerNorm = layerNorm;
  readonly matmul = matmul;
  readonly gated = gated;
  readonly ropeWriteKv = ropeWriteKv;
  readonly pagedAttention = pagedAttention;
  readonly segmentAttention = segmentAttention;
  readonly patchify = patchify;
  readonly visionEmbed = visionEmbed;
  readonly sample = sample;
  readonly keepQueries = keepQueries;
  readonly keepMoments = keepMoments;
  readonly keepColumns = keepColumns;
  readonly kvKeyDiff = kvKeyDiff;
  readonly kvLag = kvLag;
  readonly kvWindow = kvWindow;
  readonly kvExpected = kvExpected;
  readonly kvColumns = kvColumns;
  readonly kvChunk = kvChunk;
  readonly kvMerge = kvMerge;
  readonly kvPack = kvPack;
  readonly kvUnpack = kvUnpack;
  readonly kvNorm = kvNorm;
  readonly kvTop = kvTop;
  readonly kvGather = kvGather;
  readonly kvMean = kvMean;
  readonly kvFold = kvFold;

  /** `end` tells the backend that the step is over. */
  constructor(end: () => void) {
    this.#end = end;
  }

  tensor(rows: number, cols: number, dtype: TensorDtype = "f32"): Tensor {
    return this.#keep(HostTensor.poisoned(rows, cols, dtype));
  }

  upload(rows: number, cols: number, data: Float32Array): Tensor {
    return this.#keep(HostTensor.of(rows, cols, data));
  }

  uploadIndices(rows: number, cols: number, data: Uint32Array): Tensor {
    return this.#keep(HostTensor.of(rows, cols, data));
  }

  indices(values: Uint32Array): Indices {
    return new HostIndices(values);
  }

  release(tensor: Tensor): void {
    const held = host(tensor);
    assert(this.#scratch.delete(held), "scratch of this step is given back, once, and by its own tensor");
    held.storage.live = false;
  }

  view(tensor: Tensor, rows: number, cols: number): Tensor {
    const { dtype, storage } = host(tensor);
    return new HostTensor(rows, cols, dtype, storage);
  }

  /** Bytes of scratch held now. */
  bytes(): number {
    return [...this.#scratch].reduce((sum, { storage }) => sum + storage.values.byteLength, 0);
  }

  finish(reads: readonly Tensor[]): Promise<ArrayBuffer[]> {
    const results = reads.map((tensor) => {
      const { values } = host(tensor).storage;
      return values instanceof Uint32Array ? values.slice().buffer : Float32Array.from(values).buffer;
    });
    this.abandon();
    return Promise.resolve(results);
  }

  abandon(): void {
    for (const { storage } of this.#scratch) storage.live = false;
    this.#scratch.clear();
    this.#end();
  }

  #keep(tensor: HostTensor): HostTensor {
    this.#scratch.add(tensor);
    return tensor;
  }
}
