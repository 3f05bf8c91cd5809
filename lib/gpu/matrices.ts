/** Weight matrices: cut by rows at the binding limit, packed for the matmul kernel as they are written. */
import { assert } from "../core/assert.ts";
import { type Matrix, MATRIX_ELEMENT_BYTES, type MatrixDtype } from "../ops/tensor.ts";
import { widen } from "../ops/widen.ts";
import { BLOCK_ROWS } from "../../shaders/matrix_layout.wgsl.ts";
import { packMatrix } from "../../shaders/pack_matrix.wgsl.ts";
import { type Buffers, WRITE_BYTES } from "./buffers.ts";
import { foldedGrid } from "./grid.ts";
import type { GpuMatrix } from "./recorder.ts";
import { Recording, type StepParts } from "./recording.ts";

export class Matrices {
  readonly #buffers: Buffers;
  readonly #parts: StepParts;
  readonly #sliceBytesMax: number;
  /** Stored dtype of the caller's matrices whose device dtype is another. */
  readonly #widened = new WeakMap<Matrix, MatrixDtype>();
  readonly #packedF16: boolean;

  /** Without `packedF16` (the device unpacks halves wrongly) f16 matrices are held as f32. */
  constructor(buffers: Buffers, parts: StepParts, sliceBytesMax: number, packedF16: boolean) {
    this.#buffers = buffers;
    this.#parts = parts;
    this.#sliceBytesMax = sliceBytesMax;
    this.#packedF16 = packedF16;
  }

  create(rows: number, cols: number, dtype: MatrixDtype): GpuMatrix {
    assert(rows >= 1 && cols >= 4 && cols % 4 === 0, `matrix of ${rows} × ${cols} is possible`);
    const held = dtype === "f16" && !this.#packedF16 ? "f32" : dtype;
    const rowBytes = cols * MATRIX_ELEMENT_BYTES[held];
    const sliceRows = Math.floor(this.#sliceBytesMax / rowBytes / BLOCK_ROWS) * BLOCK_ROWS;
    assert(sliceRows > 0, `${BLOCK_ROWS} rows of ${cols} fit one binding`);
    const slices: GpuMatrix["slices"][number][] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += sliceRows) {
      const count = Math.min(sliceRows, rows - firstRow);
      const padded = Math.ceil(count / BLOCK_ROWS) * BLOCK_ROWS;
      slices.push({ buffer: this.#buffers.create("matrix", padded * rowBytes), firstRow, rows: count });
    }
    const matrix: GpuMatrix = { rows, cols, dtype: held, slices };
    if (held !== dtype) this.#widened.set(matrix, dtype);
    return matrix;
  }

  /** Writes whole rows, little-endian and row-major, as {@link create} was told they are stored. */
  write(matrix: GpuMatrix, firstRow: number, bytes: Uint8Array): void {
    const stored = this.#widened.get(matrix) ?? matrix.dtype;
    const storedRowBytes = matrix.cols * MATRIX_ELEMENT_BYTES[stored];
    assert(bytes.byteLength % storedRowBytes === 0, "whole rows are written");
    const end = firstRow + bytes.byteLength / storedRowBytes;
    assert(firstRow >= 0 && end <= matrix.rows, "rows are written inside the matrix");
    const rowsAtOnce = Math.max(1, Math.floor(WRITE_BYTES / storedRowBytes));
    for (const slice of matrix.slices) {
      const sliceEnd = Math.min(end, slice.firstRow + slice.rows);
      for (let row = Math.max(firstRow, slice.firstRow); row < sliceEnd; row += rowsAtOnce) {
        const count = Math.min(rowsAtOnce, sliceEnd - row);
        const from = (row - firstRow) * storedRowBytes;
        const part = bytes.subarray(from, from + count * storedRowBytes);
        this.#pack(
          matrix,
          slice.buffer,
          row - slice.firstRow,
          count,
          stored === matrix.dtype ? part : widen(stored, part),
        );
      }
    }
  }

  destroy(matrix: GpuMatrix): void {
    for (const slice of matrix.slices) this.#buffers.destroy(slice.buffer);
  }

  #pack(matrix: GpuMatrix, target: GPUBuffer, firstRow: number, rows: number, values: ArrayBufferView): void {
    const recording = new Recording(this.#parts);
    const source = recording.uploadBytes(values);
    const kernel = packMatrix(matrix.dtype, recording.tuning.workgroup);
    const chunks = matrix.cols / 4;
    recording.dispatch(
      kernel,
      [source, target],
      [firstRow, rows, chunks],
      foldedGrid(Math.ceil(rows * chunks / recording.tuning.workgroup)),
    );
    recording.submit();
  }
}
