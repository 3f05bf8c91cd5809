/** What one thread runs operations with: the shared memories, their views, and kernels generated on first use. */
import type { ModuleBuilder } from "./emit.ts";

export type Kernel = (...parameters: number[]) => void;
export type Kernels = Readonly<Record<string, Kernel>>;

/** Memories that all threads share. Memory 0 holds tensors, pages and scratch; the others weights. */
export interface SharedMemories {
  readonly memory: WebAssembly.Memory;
  readonly weights: readonly WebAssembly.Memory[];
}

interface WeightViews {
  readonly f32: Float32Array;
  readonly f16: Float16Array;
  readonly u16: Uint16Array;
}

export class Machine {
  readonly u8: Uint8Array;
  readonly f16: Float16Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  /** Views of the weight memories. */
  readonly weights: readonly WeightViews[];
  /**
   * An operation is split among so many sharers, and this thread stands in for number `thread` of them at the moment.
   * There may be more sharers than threads (see tape.ts); what a sharer computes does not depend on who stands in for it.
   */
  sharers = 1;
  thread = 0;
  readonly #kernels = new Map<string, Kernels[]>();
  readonly #tables = new WeakMap<Kernels, Kernel[][]>();
  readonly #modules = new Map<string, WebAssembly.Module>();

  /** `scratch` is this thread's own part of memory 0, `expansion` its own part of every weight memory. */
  constructor(
    readonly memories: SharedMemories,
    readonly expansion: number,
    readonly scratch: number,
    readonly scratchBytes: number,
  ) {
    const { buffer } = memories.memory;
    this.u8 = new Uint8Array(buffer);
    this.f16 = new Float16Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.weights = memories.weights.map((weights) => ({
      f32: new Float32Array(weights.buffer),
      f16: new Float16Array(weights.buffer),
      u16: new Uint16Array(weights.buffer),
    }));
  }

  /**
   * The functions of a module, compiled on first use. Generation is deterministic, so threads need not exchange
   * modules. `weightMemory` is the index of the weight memory that the module's memory 1 is.
   */
  kernels(key: string, build: () => ModuleBuilder, weightMemory = 0): Kernels {
    const known = this.#kernels.get(key);
    if (known?.[weightMemory] !== undefined) return known[weightMemory];
    let module = this.#modules.get(key);
    if (module === undefined) {
      module = new WebAssembly.Module(build().bytes());
      this.#modules.set(key, module);
    }
    const env = { memory: this.memories.memory, weights: this.memories.weights[weightMemory] };
    const kernels = new WebAssembly.Instance(module, { env }).exports as unknown as Kernels;
    if (known === undefined) this.#kernels.set(key, Array.from({ length: this.memories.weights.length }));
    this.#kernels.get(key)![weightMemory] = kernels;
    return kernels;
  }

  /** Functions named `{rows}x{panels}` as table[rows][panels]: no name is put together in a loop over tiles. */
  table(kernels: Kernels): readonly (readonly Kernel[])[] {
    let table = this.#tables.get(kernels);
    if (table === undefined) {
      table = [];
      for (const [name, kernel] of Object.entries(kernels)) {
        const match = /^(\d+)x(\d+)$/.exec(name);
        if (match !== null) (table[Number(match[1])] ??= [])[Number(match[2])] = kernel;
      }
      this.#tables.set(kernels, table);
    }
    return table;
  }

  /** The sharer's part [from, to) of `count` things. Whole things only: a result never depends on the thread count. */
  share(count: number): [from: number, to: number] {
    return [
      Math.floor(count * this.thread / this.sharers),
      Math.floor(count * (this.thread + 1) / this.sharers),
    ];
  }
}
