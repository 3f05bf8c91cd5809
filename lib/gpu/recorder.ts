import type { Kernel } from "../../shaders/kernel.ts";
import type { Indices, Matrix, Tensor } from "../ops/tensor.ts";
import type { KvPages } from "../ops/kv.ts";

/** A tensor is one whole buffer, bound from 0; it may be longer than rows · cols (pooled sizes). */
export interface GpuTensor extends Tensor {
  readonly buffer: GPUBuffer;
}

export interface GpuIndices extends Indices {
  readonly buffer: GPUBuffer;
}

/** A matrix is cut by rows where it exceeds the device's binding limit. */
export interface GpuMatrix extends Matrix {
  readonly slices: readonly {
    readonly buffer: GPUBuffer;
    readonly firstRow: number;
    readonly rows: number;
  }[];
}

/** Page p is in shard floor(p / pagesPerShard) (a power of two), at (p mod pagesPerShard) · pageBytes. At most 4 shards. */
export interface GpuKvPages extends KvPages {
  readonly shards: readonly GPUBuffer[];
  readonly pagesPerShard: number;
}

/** What kernels may use, decided once per device by the self-test and never by a timing. */
export interface Tuning {
  /** Invocations of a workgroup for reductions and elementwise work. */
  readonly workgroup: number;
  /** The adapter is a processor in disguise: few invocations at a time, loads dear. */
  readonly software: boolean;
}

/** Where operations put their dispatches. `lib/gpu/backend.ts` implements it; operation files are given it. */
export interface Recorder {
  readonly tuning: Tuning;
  /** Dispatches of one step run in order; each sees the writes of those before. Grid dimensions ≤ 65,535. */
  dispatch(
    kernel: Kernel,
    buffers: readonly GPUBuffer[],
    params: readonly number[],
    grid: readonly [x: number, y: number, z: number],
  ): void;
  /** Scratch of this step. */
  scratch(rows: number, cols: number, dtype: "f32" | "u32"): GpuTensor;
  release(tensor: GpuTensor): void;
  /** Integers uploaded for this step. */
  upload(values: Uint32Array): GpuIndices;
}

/** The bits of an f32, for `params`. */
export function floatBits(value: number): number {
  scratchFloat[0] = value;
  return scratchBits[0];
}

const scratchFloat = new Float32Array(1);
const scratchBits = new Uint32Array(scratchFloat.buffer);
