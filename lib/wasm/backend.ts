/** The operation contract on WebAssembly SIMD: memories, weights, pages, threads. */
import { assert } from "../core/assert.ts";
import { StartError } from "../core/errors.ts";
import type { Backend, Capabilities, Step } from "../ops/backend.ts";
import type { KvPages, KvShape } from "../ops/kv.ts";
import type { Matrix, MatrixDtype, Tensor } from "../ops/tensor.ts";
import type { HelperStart } from "./helper.ts";
import { EXPANDED_COLS_MAX, EXPANSION_BYTES, MEMORY_BEGIN, SCRATCH_BYTES } from "./layout.ts";
import { Machine, type SharedMemories } from "./machine.ts";
import { Arena, createMemory, MEMORY_BYTES_MAX } from "./memory.ts";
import type { QuantisedFormat } from "./quantised.ts";
import { WasmStep } from "./step.ts";
import { Control } from "./threads.ts";
import { PANEL } from "./panel.ts";
import { matrixBytes, panelStride, type StorageFormat, type WasmMatrix, writeRows } from "./weights.ts";

export interface WasmTensor extends Tensor {
  readonly address: number;
}

export interface WasmPages extends KvPages {
  readonly address: number;
}

/** See quantised_tile.ts. */
export type ProductFamily = "exact" | "dot";

export interface WasmOptions {
  /** Threads that compute, this one included. */
  readonly threads: number;
  /** Bytes of all weights as stored; decides how many memories they get. */
  readonly weightBytes: number;
  /** How matrices that may be quantised are stored; "stored" leaves them as on disk. */
  readonly quantise?: QuantisedFormat | "stored";
  /** Family of quantised products; exact by default. */
  readonly family?: ProductFamily;
}

/** Weights that fit one memory beside the expansion area, with room for panels' padding. */
const WEIGHT_BYTES_A_MEMORY = 3.5 * 1024 ** 3;

export class WasmBackend implements Backend {
  readonly capabilities: Capabilities;
  readonly machine: Machine;
  readonly control: Control;
  readonly arena: Arena;
  /** Whether quantised products are of the dot family. */
  readonly dot: boolean;
  readonly #quantise: QuantisedFormat | "stored";
  readonly #weights: readonly { readonly memory: WebAssembly.Memory; readonly arena: Arena }[];
  readonly #helpers: Worker[] = [];
  #open: WasmStep | null = null;

  private constructor(memories: SharedMemories, options: WasmOptions) {
    const { threads } = options;
    this.dot = options.family === "dot";
    this.#quantise = options.quantise ?? "stored";
    this.arena = new Arena(MEMORY_BEGIN, MEMORY_BYTES_MAX, "memory for tensors and pages");
    const scratch = Array.from({ length: threads }, () => this.arena.take(SCRATCH_BYTES));
    this.machine = new Machine(memories, 0, threads, scratch[0], SCRATCH_BYTES);
    this.control = new Control(memories.memory, threads);
    this.#weights = memories.weights.map((memory, index) => ({
      memory,
      arena: new Arena(threads * EXPANSION_BYTES, memory.buffer.byteLength, `weight memory ${index}`),
    }));
    this.capabilities = {
      backend: "wasm",
      adapter: `WebAssembly SIMD, ${threads} ${threads === 1 ? "thread" : "threads"}`,
      software: true,
      features: ["relaxed-simd"],
      kvBytesMax: 2 * 1024 ** 3,
      tensorBytesMax: 256 * 1024 ** 2,
    };
    for (let thread = 1; thread < threads; thread++) {
      const helper = new Worker(new URL("./helper.ts", import.meta.url), {
        type: "module",
        name: `helper ${thread}`,
      });
      helper.postMessage(
        {
          memories,
          thread,
          threads,
          scratch: scratch[thread],
          scratchBytes: SCRATCH_BYTES,
        } satisfies HelperStart,
      );
      this.#helpers.push(helper);
    }
  }

  /** Starts the helper threads. Throws StartError when the machine cannot reserve the memories. */
  static async create(options: WasmOptions): Promise<WasmBackend> {
    assert(options.threads >= 1, "there is at least one thread");
    let memories: SharedMemories;
    try {
      const count = Math.max(1, Math.ceil(options.weightBytes / WEIGHT_BYTES_A_MEMORY));
      memories = {
        memory: createMemory(MEMORY_BYTES_MAX),
        weights: Array.from({ length: count }, () => createMemory(MEMORY_BYTES_MAX)),
      };
    } catch (error) {
      throw new StartError(`Cannot reserve memory for the WebAssembly backend: ${(error as Error).message}`);
    }
    const backend = new WasmBackend(memories, options);
    await Promise.all(backend.#helpers.map((helper) =>
      new Promise<void>((resolve, reject) => {
        helper.onmessage = () => resolve();
        helper.onerror = (event) => {
          event.preventDefault();
          reject(new StartError(`A helper thread did not start: ${event.message}`));
        };
      })
    ));
    return backend;
  }

  createTensor(rows: number, cols: number, data?: Float32Array): WasmTensor {
    const tensor: WasmTensor = { rows, cols, dtype: "f32", address: this.arena.take(rows * cols * 4) };
    const at = tensor.address >>> 2;
    if (data === undefined) this.machine.f32.fill(0, at, at + rows * cols);
    else this.machine.f32.set(data, at);
    return tensor;
  }

  createMatrix(rows: number, cols: number, dtype: MatrixDtype, quantise = false): WasmMatrix {
    const format: StorageFormat = quantise && this.#quantise !== "stored" ? this.#quantise : dtype;
    assert(cols % 4 === 0, "a matrix has a multiple of 4 columns");
    if (cols > EXPANDED_COLS_MAX) {
      throw new StartError(
        `A weight matrix has ${cols} columns; this backend takes ${EXPANDED_COLS_MAX} at most`,
      );
    }
    const bytes = matrixBytes(rows, cols, format);
    const memory = this.#weights.findIndex((weights) => weights.arena.fits(bytes));
    if (memory < 0) {
      throw new StartError(`Cannot take ${bytes} bytes for a weight matrix of ${rows} by ${cols}`);
    }
    const address = this.#weights[memory].arena.take(bytes);
    new Uint8Array(this.#weights[memory].memory.buffer, address, bytes).fill(0);
    return {
      ...{ rows, cols, dtype, format, memory, address },
      panels: Math.ceil(rows / PANEL),
      panelStride: panelStride(cols, format),
      scale: format === "f16" ? 2 ** 112 : 1,
      rowsWritten: 0,
    };
  }

  writeMatrix(matrix: Matrix, firstRow: number, bytes: Uint8Array): void {
    const own = matrix as WasmMatrix;
    writeRows(this.#weights[own.memory].memory.buffer, own, firstRow, bytes);
  }

  createKvPages(shape: KvShape): WasmPages {
    const bytes = shape.pageCount * shape.pageBytes;
    const address = this.arena.take(bytes);
    this.machine.u8.fill(0, address, address + bytes);
    return { shape, address };
  }

  destroyTensor(tensor: Tensor): void {
    this.arena.give((tensor as WasmTensor).address);
  }

  destroyMatrix(matrix: Matrix): void {
    const own = matrix as WasmMatrix;
    this.#weights[own.memory].arena.give(own.address);
  }

  destroyKvPages(pages: KvPages): void {
    this.arena.give((pages as WasmPages).address);
  }

  begin(): Step {
    assert(this.#open === null, "one step is open at a time");
    this.#open = new WasmStep(this, () => this.#open = null);
    return this.#open;
  }

  liveBytes(): number {
    const threads = this.machine.threads;
    return this.#weights.reduce((sum, weights) => sum + weights.arena.liveBytes, this.arena.liveBytes) -
      threads * SCRATCH_BYTES;
  }

  close(): void {
    this.control.begin(0, 0);
    for (const helper of this.#helpers) helper.terminate();
  }
}
