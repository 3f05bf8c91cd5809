/** Tensors of the oracle: f64 or u32 numbers on the host that know whether they may still be read. */
import { assert } from "../../lib/core/assert.ts";
import type { Step } from "../../lib/ops/backend.ts";
import type { Indices, Tensor, TensorDtype } from "../../lib/ops/tensor.ts";

/** The operands of an operation of {@link Step}, e.g. `Operands<"matmul">`. */
export type Operands<Name extends keyof Step> = Step[Name] extends (o: infer O) => void ? O : never;

/** The numbers behind a tensor and its views. */
export interface Storage {
  readonly values: Float64Array | Uint32Array;
  live: boolean;
}

export class HostTensor implements Tensor {
  constructor(
    readonly rows: number,
    readonly cols: number,
    readonly dtype: TensorDtype,
    readonly storage: Storage,
  ) {
    assert(rows >= 1 && cols >= 1, `a tensor is at least 1 × 1, not ${rows} × ${cols}`);
    assert(storage.values.length === rows * cols, "a tensor covers its whole storage");
  }

  /** New numbers, poisoned (NaN, or all bits set), so that reading what nothing wrote shows. */
  static poisoned(rows: number, cols: number, dtype: TensorDtype): HostTensor {
    const values = dtype === "f32"
      ? new Float64Array(rows * cols).fill(NaN)
      : new Uint32Array(rows * cols).fill(0xffff_ffff);
    return new HostTensor(rows, cols, dtype, { values, live: true });
  }

  /** New numbers, copied from the caller's. */
  static of(rows: number, cols: number, data: Float32Array | Uint32Array): HostTensor {
    assert(data.length === rows * cols, `${rows} × ${cols} values are needed, ${data.length} are given`);
    return data instanceof Uint32Array
      ? new HostTensor(rows, cols, "u32", { values: data.slice(), live: true })
      : new HostTensor(rows, cols, "f32", { values: Float64Array.from(data), live: true });
  }
}

/** What is behind a tensor of this backend. Throws for another backend's tensor and for one that was given back. */
export function host(tensor: Tensor): HostTensor {
  assert(tensor instanceof HostTensor, "the tensor was made by this backend");
  assert(tensor.storage.live, "the tensor was not given back");
  return tensor;
}

/** The numbers of an f32 tensor, row-major. */
export function floats(tensor: Tensor): Float64Array {
  const { values } = host(tensor).storage;
  assert(values instanceof Float64Array, "the tensor is f32");
  return values;
}

/** The numbers of a u32 tensor, row-major. */
export function words(tensor: Tensor): Uint32Array {
  const { values } = host(tensor).storage;
  assert(values instanceof Uint32Array, "the tensor is u32");
  return values;
}

/** Throws unless `tensor` is [rows, cols]. */
export function expectShape(tensor: Tensor, rows: number, cols: number): void {
  assert(
    tensor.rows === rows && tensor.cols === cols,
    `a tensor of ${rows} × ${cols} is needed, not ${tensor.rows} × ${tensor.cols}`,
  );
}

/** True when two tensors are the same memory. */
export function shares(a: Tensor, b: Tensor): boolean {
  return host(a).storage === host(b).storage;
}

/** Integers of a step, copied when they were given, as a device would. */
export class HostIndices implements Indices {
  readonly values: Uint32Array;

  constructor(values: Uint32Array) {
    this.values = values.slice();
  }
}
