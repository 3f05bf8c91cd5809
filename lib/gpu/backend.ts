/** The operation contract on WebGPU. */
import { assert } from "../core/assert.ts";
import { StartError } from "../core/errors.ts";
import { log } from "../core/log.ts";
import type { Backend, Capabilities, Step } from "../ops/backend.ts";
import type { KvPages, KvShape } from "../ops/kv.ts";
import type { SelfTestRow } from "../ops/self_test.ts";
import type { Matrix, MatrixDtype, Tensor } from "../ops/tensor.ts";
import { BindGroups } from "./bind_groups.ts";
import { Buffers } from "./buffers.ts";
import { type AdapterFacts, findAdapter, openDevice } from "./device.ts";
import { Faults } from "./faults.ts";
import { createKvPages, kvBytesMax } from "./kv_store.ts";
import { Matrices } from "./matrices.ts";
import { ParamsArena } from "./params.ts";
import { Pipelines } from "./pipelines.ts";
import { Readback } from "./readback.ts";
import type { GpuKvPages, GpuMatrix, GpuTensor, Tuning } from "./recorder.ts";
import { Recording, type StepParts } from "./recording.ts";
import { ScratchPool } from "./scratch.ts";
import { PACKED_F16, runSelfTest } from "./self_test.ts";
import { GpuStep } from "./step.ts";

export interface GpuOptions {
  /** Cuts matrices and KV pools into buffers of at most this many bytes, sooner than the device asks. */
  readonly sliceBytesMax?: number;
  /** Optional features to leave off even where they work. */
  readonly withoutFeatures?: readonly string[];
  /** Chooses kernels as for another device; results are the same bits. */
  readonly tuning?: Partial<Tuning>;
}

/** Largest buffers, bytes: of tensors, which are never cut, and of slices of what may be. */
interface BufferSizes {
  readonly bindingBytesMax: number;
  readonly sliceBytesMax: number;
}

/** Invocations of reductions and elementwise kernels: two to eight subgroups everywhere. */
const WORKGROUP = 64;

/**
 * Opens the device and checks that it can calculate. Throws StartError when there is no adapter, when it gives no
 * device, or when the self-test finds that it calculates wrongly.
 */
export async function createGpuBackend(options: GpuOptions = {}): Promise<GpuBackend> {
  const search = await findAdapter();
  if (search.adapter === null) throw new StartError(`no WebGPU adapter: ${search.reason}`);
  const { adapter, facts } = search;
  const device = await openDevice(adapter);
  const faults = new Faults(device);
  const buffers = new Buffers(device, faults);
  // Bindings are whole buffers, and vec4 arrays must fill them.
  const { maxStorageBufferBindingSize, maxBufferSize } = facts.limits;
  const bindingBytesMax = Math.floor(Math.min(maxStorageBufferBindingSize, maxBufferSize) / 256) * 256;
  const sliceBytesMax = Math.min(bindingBytesMax, options.sliceBytesMax ?? bindingBytesMax);
  const bindGroups = new BindGroups(device);
  buffers.onDestroy = (buffer) => bindGroups.forget(buffer);
  const parts: StepParts = {
    device,
    faults,
    pipelines: new Pipelines(device, faults),
    bindGroups,
    params: new ParamsArena(device, buffers),
    scratch: new ScratchPool(buffers, bindingBytesMax),
    readback: new Readback(buffers),
    tuning: { workgroup: WORKGROUP, software: facts.software, ...options.tuning },
  };
  const selfTest = await runSelfTest(buffers, parts);
  const failed = selfTest.filter((row) => !row.passed);
  for (const { name, detail } of failed) {
    log.warn("gpu_self_test_failed", { adapter: facts.name, name, detail });
  }
  const wrong = failed.find((row) => row.required);
  if (wrong !== undefined) {
    buffers.destroyAll();
    device.destroy();
    throw new StartError(`the adapter ${facts.name} calculates wrongly: ${wrong.name}: ${wrong.detail}`);
  }
  const features = selfTest
    .filter((row) => row.passed && !row.required && !options.withoutFeatures?.includes(row.name))
    .map((row) => row.name);
  return new GpuBackend(facts, parts, buffers, { bindingBytesMax, sliceBytesMax }, selfTest, features);
}

export class GpuBackend implements Backend {
  readonly capabilities: Capabilities;
  readonly adapterFacts: AdapterFacts;
  readonly selfTest: readonly SelfTestRow[];
  readonly #parts: StepParts;
  readonly #buffers: Buffers;
  readonly #matrices: Matrices;
  readonly #sizes: BufferSizes;
  readonly #packedF16: boolean;
  #open: GpuStep | null = null;

  constructor(
    facts: AdapterFacts,
    parts: StepParts,
    buffers: Buffers,
    sizes: BufferSizes,
    selfTest: readonly SelfTestRow[],
    features: readonly string[],
  ) {
    this.adapterFacts = facts;
    this.selfTest = selfTest;
    this.#parts = parts;
    this.#buffers = buffers;
    this.#sizes = sizes;
    this.#packedF16 = features.includes(PACKED_F16);
    this.#matrices = new Matrices(buffers, parts, sizes.sliceBytesMax, this.#packedF16);
    this.capabilities = {
      backend: "webgpu",
      adapter: facts.name,
      software: facts.software,
      features,
      kvBytesMax: kvBytesMax(sizes.sliceBytesMax),
      tensorBytesMax: sizes.bindingBytesMax,
    };
  }

  createTensor(rows: number, cols: number, data?: Float32Array): Tensor {
    assert(rows >= 1 && cols >= 1, `tensor of ${rows} × ${cols} is possible`);
    assert(rows * cols * 4 <= this.#sizes.bindingBytesMax, `tensor of ${rows} × ${cols} fits one binding`);
    assert(data === undefined || data.length === rows * cols, `tensor of ${rows} × ${cols} has its values`);
    const buffer = this.#buffers.create("tensor", rows * cols * 4);
    if (data !== undefined) this.#buffers.fill(buffer, data);
    const tensor: GpuTensor = { rows, cols, dtype: "f32", buffer };
    return tensor;
  }

  createMatrix(rows: number, cols: number, dtype: MatrixDtype): Matrix {
    return this.#matrices.create(rows, cols, dtype);
  }

  writeMatrix(matrix: Matrix, firstRow: number, bytes: Uint8Array): void {
    assert(this.#open === null, "matrices are written between steps");
    this.#matrices.write(matrix as GpuMatrix, firstRow, bytes);
  }

  createKvPages(shape: KvShape): KvPages {
    if (shape.dtype === "f16" && !this.#packedF16) {
      throw new StartError(
        `the adapter ${this.capabilities.adapter} cannot store f16 keys and values: use f32`,
      );
    }
    return createKvPages(this.#buffers, this.#sizes.sliceBytesMax, shape);
  }

  destroyTensor(tensor: Tensor): void {
    this.#buffers.destroy((tensor as GpuTensor).buffer);
  }

  destroyMatrix(matrix: Matrix): void {
    this.#matrices.destroy(matrix as GpuMatrix);
  }

  destroyKvPages(pages: KvPages): void {
    for (const shard of (pages as GpuKvPages).shards) this.#buffers.destroy(shard);
  }

  begin(): Step {
    assert(this.#open === null, "one step is open at a time");
    this.#open = new GpuStep(new Recording(this.#parts), () => this.#open = null);
    return this.#open;
  }

  liveBytes(): number {
    return this.#buffers.liveBytes;
  }

  close(): void {
    this.#open?.abandon();
    this.#buffers.destroyAll();
    this.#parts.device.destroy();
  }
}
