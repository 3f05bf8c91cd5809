/** Weight matrices of the oracle: widened once, when they are written. */
import { assert } from "../../lib/core/assert.ts";
import { type Matrix, MATRIX_ELEMENT_BYTES, type MatrixDtype } from "../../lib/ops/tensor.ts";
import { widen } from "../../lib/ops/widen.ts";

export class HostMatrix implements Matrix {
  /** Row-major; NaN where nothing was written. Every stored dtype is exact in f32. */
  readonly values: Float32Array;
  live = true;

  constructor(readonly rows: number, readonly cols: number, readonly dtype: MatrixDtype) {
    assert(rows >= 1 && cols >= 4 && cols % 4 === 0, `${rows} × ${cols}: columns come in fours`);
    this.values = new Float32Array(rows * cols).fill(NaN);
  }

  write(firstRow: number, bytes: Uint8Array): void {
    const rows = bytes.byteLength / (this.cols * MATRIX_ELEMENT_BYTES[this.dtype]);
    assert(
      Number.isInteger(rows) && firstRow + rows <= this.rows,
      "whole rows inside the matrix are written",
    );
    this.values.set(widen(this.dtype, bytes), firstRow * this.cols);
  }
}

/** The matrix behind a handle of this backend. */
export function weights(matrix: Matrix): HostMatrix {
  assert(matrix instanceof HostMatrix, "the matrix was made by this backend");
  assert(matrix.live, "the matrix was not destroyed");
  return matrix;
}
