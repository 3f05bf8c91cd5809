/** One step being recorded: its dispatches and its scratch. Everything is encoded and submitted at the end. */
import { assert } from "../core/assert.ts";
import type { Kernel } from "../../shaders/kernel.ts";
import type { TensorDtype } from "../ops/tensor.ts";
import type { BindGroups } from "./bind_groups.ts";
import type { Faults } from "./faults.ts";
import { GRID_MAX } from "./grid.ts";
import type { ParamsArena } from "./params.ts";
import type { Pipeline, Pipelines } from "./pipelines.ts";
import type { Readback } from "./readback.ts";
import type { GpuIndices, GpuTensor, Recorder, Tuning } from "./recorder.ts";
import type { ScratchPool } from "./scratch.ts";

/** What every step of one device shares. */
export interface StepParts {
  readonly device: GPUDevice;
  readonly faults: Faults;
  readonly pipelines: Pipelines;
  readonly bindGroups: BindGroups;
  readonly params: ParamsArena;
  readonly scratch: ScratchPool;
  readonly readback: Readback;
  readonly tuning: Tuning;
}

/**
 * Dispatches of one submit. wgpu 29 may wait forever on Metal for a command buffer of more than a few hundred
 * milliseconds; 64 dispatches are six to eight layers. To be raised when wgpu 30 is everywhere.
 */
const DISPATCHES_PER_SUBMIT = 64;

interface Dispatch {
  readonly pipeline: Pipeline;
  readonly buffers: readonly GPUBuffer[];
  /** Byte offset of its params in the arena, when it has any. */
  readonly offset: number;
  readonly grid: readonly [number, number, number];
}

export class Recording implements Recorder {
  readonly tuning: Tuning;
  readonly #parts: StepParts;
  readonly #dispatches: Dispatch[] = [];
  /** Scratch of this step in the order it was taken, and by its size what was released. */
  readonly #taken: GPUBuffer[] = [];
  readonly #released = new Map<number, GPUBuffer[]>();
  readonly #inUse = new Set<GPUBuffer>();
  #open = true;

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.tuning = parts.tuning;
    parts.params.reset();
  }

  dispatch(
    kernel: Kernel,
    buffers: readonly GPUBuffer[],
    params: readonly number[],
    grid: readonly [x: number, y: number, z: number],
  ): void {
    assert(this.#open, `${kernel.key} is recorded while its step is open`);
    assert(buffers.length === kernel.bindings.length, `${kernel.key} has its buffers`);
    assert(params.length === kernel.paramWords, `${kernel.key} has its params`);
    assertApart(kernel, buffers);
    assert(
      grid.every((size) => size >= 1 && size <= GRID_MAX),
      `the grid of ${kernel.key} is possible: ${grid}`,
    );
    this.#dispatches.push({
      pipeline: this.#parts.pipelines.get(kernel),
      buffers,
      offset: kernel.paramWords > 0 ? this.#parts.params.add(params) : 0,
      grid,
    });
  }

  scratch(rows: number, cols: number, dtype: TensorDtype): GpuTensor {
    assert(this.#open && rows >= 1 && cols >= 1, `scratch of ${rows} × ${cols} is possible`);
    const size = this.#parts.scratch.classOf(rows * cols * 4);
    assert(size >= rows * cols * 4, `scratch of ${rows} × ${cols} fits one binding`);
    const buffer = this.#released.get(size)?.pop() ?? this.#take(size);
    this.#inUse.add(buffer);
    return { rows, cols, dtype, buffer };
  }

  release(tensor: GpuTensor): void {
    const { buffer } = tensor;
    assert(this.#inUse.delete(buffer), "what is released is scratch of this step");
    const same = this.#released.get(buffer.size);
    if (same === undefined) this.#released.set(buffer.size, [buffer]);
    else same.push(buffer);
  }

  upload(values: Uint32Array): GpuIndices {
    return { values, buffer: this.uploadBytes(values) };
  }

  /** Scratch filled from the host; what it holds may be reused by the caller at once. */
  uploadBytes(values: ArrayBufferView): GPUBuffer {
    assert(this.#open, "uploads are made while their step is open");
    // Writes happen before every dispatch of the step, so this must be memory that no dispatch of it has used.
    // Nothing is a buffer too: an operation over no rows still binds it.
    const buffer = this.#take(this.#parts.scratch.classOf(values.byteLength));
    assert(buffer.size >= values.byteLength, `an upload of ${values.byteLength} bytes fits one binding`);
    this.#inUse.add(buffer);
    // Deno 2.9 ends the process on a write of no bytes.
    if (values.byteLength > 0) this.#parts.device.queue.writeBuffer(buffer, 0, values as BufferSource);
    return buffer;
  }

  /** Submits everything recorded and reads tensors back. Throws what the device found wrong, by kernel or buffer. */
  async finish(reads: readonly GpuTensor[]): Promise<ArrayBuffer[]> {
    assert(this.#open, "a step is finished once");
    const { faults, readback } = this.#parts;
    const wanted = reads.map(({ buffer, rows, cols }) => ({ buffer, bytes: rows * cols * 4 }));
    let results: ArrayBuffer[] = [];
    try {
      faults.guard("step", () => this.#submit(wanted));
      // Before waiting: a step that the device refused never signals its results.
      await faults.check();
      if (wanted.length > 0) results = await readback.take(wanted);
    } finally {
      this.close();
    }
    return results;
  }

  /** Submits everything recorded without waiting; what goes wrong shows at the next step's end. */
  submit(): void {
    assert(this.#open, "a step is submitted once");
    this.#parts.faults.guard("upload", () => this.#submit([]));
    this.close();
  }

  /** Gives the scratch back. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // In reverse, so that an equal step takes the same buffers in the same order and finds its bind groups again.
    for (const buffer of this.#taken.reverse()) this.#parts.scratch.give(buffer);
    this.#parts.scratch.trim();
  }

  #take(size: number): GPUBuffer {
    const buffer = this.#parts.scratch.take(size);
    this.#taken.push(buffer);
    return buffer;
  }

  #submit(reads: readonly { readonly buffer: GPUBuffer; readonly bytes: number }[]): void {
    const { device, readback, params } = this.#parts;
    const arena = this.#dispatches.some(({ pipeline }) => pipeline.layout.hasParams) ? params.write() : null;
    for (let first = 0; first < this.#dispatches.length; first += DISPATCHES_PER_SUBMIT) {
      const last = first + DISPATCHES_PER_SUBMIT >= this.#dispatches.length;
      const encoder = device.createCommandEncoder();
      this.#encode(encoder, this.#dispatches.slice(first, first + DISPATCHES_PER_SUBMIT), arena);
      if (last && reads.length > 0) readback.encode(encoder, reads);
      device.queue.submit([encoder.finish()]);
    }
    if (this.#dispatches.length === 0) {
      const encoder = device.createCommandEncoder();
      if (reads.length > 0) readback.encode(encoder, reads);
      device.queue.submit([encoder.finish()]);
    }
  }

  #encode(encoder: GPUCommandEncoder, dispatches: readonly Dispatch[], arena: GPUBuffer | null): void {
    const pass = encoder.beginComputePass();
    let current: Pipeline | null = null;
    for (const { pipeline, buffers, offset, grid } of dispatches) {
      if (pipeline !== current) pass.setPipeline(pipeline.pipeline);
      current = pipeline;
      const { layout } = pipeline;
      const group = this.#parts.bindGroups.get(pipeline, layout.hasParams ? [...buffers, arena!] : buffers);
      pass.setBindGroup(0, group, layout.hasParams ? [offset] : []);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
  }
}

/** WebGPU refuses a buffer that one dispatch both reads and writes, without saying which operation it was. */
function assertApart(kernel: Kernel, buffers: readonly GPUBuffer[]): void {
  for (const [i, written] of buffers.entries()) {
    if (kernel.bindings[i] !== "read_write") continue;
    const clash = buffers.some((buffer, j) => buffer === written && kernel.bindings[j] === "read");
    assert(!clash, `${kernel.key} does not read what it writes`);
  }
}
