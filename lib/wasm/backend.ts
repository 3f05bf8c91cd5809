/** The operation contract on WebAssembly SIMD: memories, weights, pages, threads. */
import { Worker } from "node:worker_threads";
import { assert } from "../core/assert.ts";
import { sleep, systemClock } from "../core/clock.ts";
import { StartError } from "../core/errors.ts";
import type { Backend, Capabilities, Step } from "../ops/backend.ts";
import type { KvPages, KvShape } from "../ops/kv.ts";
import type { SelfTestRow } from "../ops/self_test.ts";
import type { Matrix, MatrixDtype, Tensor } from "../ops/tensor.ts";
import type { HelperStart } from "./helper.ts";
import { EXPANDED_COLS_MAX, EXPANSION_BYTES, MEMORY_BEGIN, SCRATCH_BYTES } from "./layout.ts";
import { Machine, type SharedMemories } from "./machine.ts";
import { Arena, createMemory, MEMORY_BYTES_MAX } from "./memory.ts";
import type { QuantisedFormat } from "./quantised.ts";
import { EVERY_KERNEL, type KernelUse, probeFused, requirePassed, runSelfTest } from "./self_test.ts";
import { WasmStep } from "./step.ts";
import { Tapes } from "./tapes.ts";
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
  /** Bytes of all weights as stored; decides how many memories they get, and of what size. */
  readonly weightBytes: number;
  /** How matrices that may be quantised are stored; "stored" leaves them as on disk. */
  readonly quantise?: QuantisedFormat | "stored";
  /** Family of quantised products; exact by default. */
  readonly family?: ProductFamily;
  /** Bytes of weights that one memory takes at most, as much as there is by default. */
  readonly bytesAMemory?: number;
  /** What the self-test examines; one of each kind of kernel by default. */
  readonly examine?: KernelUse;
}

/** Loading a helper's few modules takes some ten milliseconds. */
const HELPER_START_MS_MAX = 10_000;

/** The share of a memory that is planned with: panels are padded, and a matrix does not straddle two memories. */
const PLANNED_SHARE = 7 / 8;

/** What a memory of weights reserves at least, and how many times the bytes of its weights. */
const RESERVED_BYTES_MIN = 512 * 1024 ** 2;
const RESERVED_TIMES = 2;

/**
 * How many memories hold the weights, and the bytes of each, `most` at most. V8 (Deno 2.9.6) counts every shared memory whole,
 * touched or not, as memory of each thread that sees it. Beyond some 8 GiB, which two memories of 4 GiB are, it finds the heap
 * forever 8 MiB from its limit and marks without end: a full collection every 15 ms, half of the requests a second. So no more
 * is reserved than weights may need. To be simplified when V8 counts what is touched.
 */
export function weightMemories(weightBytes: number, most: number): { count: number; bytes: number } {
  return {
    count: Math.max(1, Math.ceil(weightBytes / (most * PLANNED_SHARE))),
    bytes: Math.min(most, Math.max(RESERVED_BYTES_MIN, RESERVED_TIMES * weightBytes)),
  };
}

/** Known before anything is reserved, so that a model that does not fit can be refused. */
export function wasmCapabilities(threads: number): Capabilities {
  return {
    backend: "wasm",
    adapter: `WebAssembly SIMD, ${threads} ${threads === 1 ? "thread" : "threads"}`,
    software: true,
    features: ["relaxed-simd"],
    kvBytesMax: 2 * 1024 ** 3,
    tensorBytesMax: 256 * 1024 ** 2,
  };
}

/** What `threads` threads compute in beside tensors, at most. */
export function scratchBytes(threads: number): number {
  return threads * (SCRATCH_BYTES + EXPANSION_BYTES);
}

export class WasmBackend implements Backend {
  readonly capabilities: Capabilities;
  readonly machine: Machine;
  readonly control: Control;
  readonly tapes: Tapes;
  readonly arena: Arena;
  #quantise: QuantisedFormat | "stored" = "stored";
  #family: ProductFamily = "exact";
  #selfTest: readonly SelfTestRow[] = [];
  #fused = false;
  readonly #weights: readonly { readonly memory: WebAssembly.Memory; readonly arena: Arena }[];
  readonly #helpers: Worker[] = [];
  #open: WasmStep | null = null;

  private constructor(memories: SharedMemories, options: WasmOptions) {
    const { threads } = options;
    this.arena = new Arena(MEMORY_BEGIN, MEMORY_BYTES_MAX, "memory for tensors and pages");
    const scratch = Array.from({ length: threads }, () => this.arena.take(SCRATCH_BYTES));
    this.machine = new Machine(memories, 0, scratch[0], SCRATCH_BYTES);
    this.control = new Control(memories.memory, 0, threads);
    this.tapes = new Tapes(this.arena, new Int32Array(memories.memory.buffer), this.control);
    this.#weights = memories.weights.map((memory, index) => ({
      memory,
      arena: new Arena(threads * EXPANSION_BYTES, memory.buffer.byteLength, `weight memory ${index}`),
    }));
    this.capabilities = wasmCapabilities(threads);
    for (let thread = 1; thread < threads; thread++) {
      const start: HelperStart = {
        memories,
        thread,
        threads,
        scratch: scratch[thread],
        scratchBytes: SCRATCH_BYTES,
      };
      const helper = new Worker(new URL("./helper.ts", import.meta.url), { workerData: start });
      this.#helpers.push(helper);
    }
  }

  /** Starts the helper threads. Throws StartError when the machine cannot reserve the memories. */
  static async create(options: WasmOptions): Promise<WasmBackend> {
    assert(options.threads >= 1, "there is at least one thread");
    let memories: SharedMemories;
    try {
      const expansions = options.threads * EXPANSION_BYTES;
      const most = Math.min(options.bytesAMemory ?? Infinity, MEMORY_BYTES_MAX - expansions);
      const { count, bytes } = weightMemories(options.weightBytes, most);
      memories = {
        memory: createMemory(MEMORY_BYTES_MAX),
        weights: Array.from({ length: count }, () => createMemory(expansions + bytes)),
      };
    } catch (error) {
      throw new StartError(`Cannot reserve memory for the WebAssembly backend: ${(error as Error).message}`);
    }
    const backend = new WasmBackend(memories, options);
    await backend.#helpersReady();
    try {
      await backend.#examine(options.examine ?? EVERY_KERNEL);
    } catch (error) {
      backend.close();
      throw error;
    }
    backend.#store(options.quantise ?? "stored", options.family ?? "exact");
    return backend;
  }

  /**
   * Helpers get what they need when they are made and report in shared memory: on Deno 2.9.6 a worker that was started by
   * a worker begins half a second late, and takes another half for its first message. To be simplified when it does not.
   */
  async #helpersReady(): Promise<void> {
    let failure: StartError | null = null;
    for (const helper of this.#helpers) {
      helper.on("error", (error) => {
        failure = new StartError(`A helper thread did not start: ${error.message}`);
      });
    }
    const deadline = systemClock.now() + HELPER_START_MS_MAX;
    while (!this.control.ready) {
      if (systemClock.now() > deadline) failure ??= new StartError("A helper thread did not start in time");
      if (failure !== null) {
        this.close();
        throw failure;
      }
      await sleep(systemClock, 1);
    }
  }

  /** What the self-test found at start; every row passed. */
  get selfTest(): readonly SelfTestRow[] {
    return this.#selfTest;
  }

  /** Whether this machine fuses multiply-adds; without it, the last bits of results are others. */
  get fused(): boolean {
    return this.#fused;
  }

  /** Whether quantised products are of the dot family. */
  get dot(): boolean {
    return this.#family === "dot";
  }

  /** Throws StartError when a kernel calculates wrongly. */
  async #examine(use: KernelUse): Promise<void> {
    this.#selfTest = await runSelfTest({
      backend: this,
      threads: this.control.threads,
      store: (quantise, family) => this.#store(quantise, family),
    }, use);
    requirePassed(this.#selfTest);
    this.#fused = await probeFused(this);
  }

  #store(quantise: QuantisedFormat | "stored", family: ProductFamily): void {
    this.#quantise = quantise;
    this.#family = family;
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
    // A shared memory is zero where nothing has been; only what was given back has to be cleared.
    if (this.arena.reused(address)) this.machine.u8.fill(0, address, address + bytes);
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
    const own = this.control.threads * SCRATCH_BYTES + this.tapes.bytes;
    return this.#weights.reduce((sum, weights) => sum + weights.arena.liveBytes, this.arena.liveBytes) - own;
  }

  close(): void {
    this.control.begin(0, 0, 0);
    for (const helper of this.#helpers) void helper.terminate();
  }
}
