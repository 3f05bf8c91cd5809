/** Products with frozen matrices, forward and back, on whatever backend computes. */
import type { WeightSource } from "../engine/weights.ts";
import { loadMatrix, loadVector } from "../engine/weights.ts";
import type { Backend } from "../ops/backend.ts";
import { type Matrix, MATRIX_ELEMENT_BYTES, type Tensor } from "../ops/tensor.ts";
import { widen } from "../ops/widen.ts";

/** Rows of one product; more are taken in pieces. */
const ROWS_MAX = 4096;

export class FrozenLinear {
  readonly #backend: Backend;
  readonly #weight: Matrix;
  readonly #transposed: Matrix;
  readonly #bias: Tensor | null;

  /** Rows of several tensors stacked, as the decoder stacks them; `biases` empty for none. */
  constructor(backend: Backend, source: WeightSource, weights: readonly string[], biases: readonly string[]) {
    this.#backend = backend;
    this.#weight = loadMatrix(backend, source, weights);
    this.#transposed = transposed(backend, source, weights, this.#weight);
    this.#bias = biases.length === 0 ? null : loadVector(backend, source, biases);
  }

  get outputs(): number {
    return this.#weight.rows;
  }

  /** x·Wᵀ + b. */
  forward(x: Float32Array): Promise<Float32Array> {
    return this.#multiply(x, this.#weight, this.#bias);
  }

  /** The gradient of x, given that of the result: dy·W. */
  backward(dy: Float32Array): Promise<Float32Array> {
    return this.#multiply(padRows(dy, this.#weight.rows, this.#transposed.cols), this.#transposed, null);
  }

  async #multiply(x: Float32Array, weight: Matrix, bias: Tensor | null): Promise<Float32Array> {
    const rows = x.length / weight.cols;
    const y = new Float32Array(rows * weight.rows);
    for (let first = 0; first < rows; first += ROWS_MAX) {
      const count = Math.min(ROWS_MAX, rows - first);
      const step = this.#backend.begin();
      const part = step.upload(
        count,
        weight.cols,
        x.subarray(first * weight.cols, (first + count) * weight.cols),
      );
      const out = step.tensor(count, weight.rows);
      step.matmul({ x: part, weight, bias, out });
      const [bytes] = await step.finish([out]);
      y.set(new Float32Array(bytes), first * weight.rows);
    }
    return y;
  }
}

/** Rows of `width` values, each filled up with zeros to `padded`. */
function padRows(x: Float32Array, width: number, padded: number): Float32Array {
  if (width === padded) return x;
  const rows = x.length / width, out = new Float32Array(rows * padded);
  for (let row = 0; row < rows; row++) out.set(x.subarray(row * width, (row + 1) * width), row * padded);
  return out;
}

/** The transposed matrix, f32. Its columns are filled up with zeros to a multiple of 4, which a product takes. */
function transposed(
  backend: Backend,
  source: WeightSource,
  names: readonly string[],
  { rows, cols }: Matrix,
): Matrix {
  const padded = 4 * Math.ceil(rows / 4), values = new Float32Array(padded * cols);
  let row = 0;
  for (const name of names) {
    const stored = source.tensor(name);
    const part = widen(
      stored.dtype,
      stored.read(0, stored.shape[0] * cols * MATRIX_ELEMENT_BYTES[stored.dtype]),
    );
    for (let r = 0; r < stored.shape[0]; r++, row++) {
      for (let c = 0; c < cols; c++) values[c * padded + row] = part[r * cols + c];
    }
  }
  const matrix = backend.createMatrix(cols, padded, "f32");
  backend.writeMatrix(matrix, 0, new Uint8Array(values.buffer));
  return matrix;
}
