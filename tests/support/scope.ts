/** What one case creates on a backend: persistent objects, given back at its end, and whole steps. */
import type { Backend, Step } from "../../lib/ops/backend.ts";
import type { KvPages, KvShape } from "../../lib/ops/kv.ts";
import type { Matrix, MatrixDtype, Tensor } from "../../lib/ops/tensor.ts";
import { encode } from "./half.ts";
import type { Numbers } from "./compare.ts";

export class Scope implements Disposable {
  readonly #releases: (() => void)[] = [];

  constructor(readonly backend: Backend) {}

  /** A persistent tensor. */
  tensor(rows: number, cols: number, data?: Float32Array): Tensor {
    const tensor = this.backend.createTensor(rows, cols, data);
    this.#releases.push(() => this.backend.destroyTensor(tensor));
    return tensor;
  }

  /** A weight matrix, rounded to its dtype and written in two slices where it has two rows. */
  matrix(rows: number, cols: number, dtype: MatrixDtype, values: Float32Array): Matrix {
    const matrix = this.backend.createMatrix(rows, cols, dtype);
    this.#releases.push(() => this.backend.destroyMatrix(matrix));
    const cut = Math.floor(rows / 2);
    this.backend.writeMatrix(matrix, cut, encode(dtype, values.subarray(cut * cols)));
    if (cut > 0) this.backend.writeMatrix(matrix, 0, encode(dtype, values.subarray(0, cut * cols)));
    return matrix;
  }

  pages(shape: KvShape): KvPages {
    const pages = this.backend.createKvPages(shape);
    this.#releases.push(() => this.backend.destroyKvPages(pages));
    return pages;
  }

  /** Records and runs one step; the tensors that `record` returns are read back. */
  async step(record: (step: Step) => readonly Tensor[]): Promise<Numbers[]> {
    const step = this.backend.begin();
    let reads: readonly Tensor[];
    try {
      reads = record(step);
    } catch (error) {
      step.abandon();
      throw error;
    }
    const results = await step.finish(reads);
    return results.map((bytes, i) =>
      reads[i].dtype === "u32" ? new Uint32Array(bytes) : new Float32Array(bytes)
    );
  }

  [Symbol.dispose](): void {
    for (const release of this.#releases.splice(0)) release();
  }
}
