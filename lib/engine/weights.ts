/** Reads a model's weights into a backend, tensor by tensor and slice by slice. */
import { assert } from "../core/assert.ts";
import type { Backend } from "../ops/backend.ts";
import type { Matrix, MatrixDtype, Tensor } from "../ops/tensor.ts";
import { MATRIX_ELEMENT_BYTES } from "../ops/tensor.ts";
import { widen } from "../ops/widen.ts";

/** One tensor of a checkpoint: `read` returns bytes of its row-major little-endian data. */
export interface StoredTensor {
  readonly dtype: MatrixDtype;
  readonly shape: readonly number[];
  read(firstByte: number, bytes: number): Uint8Array;
}

/** Where tensors come from: a checkpoint on disk. Throws StartError for a tensor that is not there. */
export interface WeightSource {
  tensor(name: string): StoredTensor;
  has(name: string): boolean;
}

/** Bytes read and uploaded at a time: large enough to stream, small enough not to show in memory. */
const SLICE_BYTES = 4 * 1024 * 1024;

/** A persistent [1, n] tensor from one-dimensional tensors laid end to end. */
export function loadVector(backend: Backend, source: WeightSource, names: readonly string[]): Tensor {
  const parts = names.map((name) => readWhole(source.tensor(name)));
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return backend.createTensor(1, all.length, all);
}

/** A persistent [rows, cols] f32 tensor: position tables and the like. */
export function loadTable(backend: Backend, source: WeightSource, name: string): Tensor {
  const stored = source.tensor(name);
  const cols = stored.shape[stored.shape.length - 1];
  const values = readWhole(stored);
  return backend.createTensor(values.length / cols, cols, values);
}

/**
 * One matrix from tensors stacked by rows (fused q, k, v; gate and up). A tensor [n, a, b, …] counts as [n, a·b·…].
 * Parts of different dtypes are widened to f32. `quantise`: the backend may hold it in fewer bits.
 */
export function loadMatrix(
  backend: Backend,
  source: WeightSource,
  names: readonly string[],
  quantise = false,
): Matrix {
  const parts = names.map((name) => source.tensor(name));
  const cols = rowLength(parts[0].shape);
  const dtype = parts.every((part) => part.dtype === parts[0].dtype) ? parts[0].dtype : "f32";
  const rows = parts.reduce((sum, part) => sum + part.shape[0], 0);
  const matrix = backend.createMatrix(rows, cols, dtype, quantise);
  let firstRow = 0;
  for (const part of parts) {
    assert(rowLength(part.shape) === cols, "stacked matrices have equal columns");
    const rowBytes = cols * MATRIX_ELEMENT_BYTES[part.dtype];
    const sliceRows = Math.max(1, Math.floor(SLICE_BYTES / rowBytes));
    for (let row = 0; row < part.shape[0]; row += sliceRows) {
      const count = Math.min(sliceRows, part.shape[0] - row);
      const bytes = part.read(row * rowBytes, count * rowBytes);
      backend.writeMatrix(
        matrix,
        firstRow + row,
        part.dtype === dtype ? bytes : bytesOf(widen(part.dtype, bytes)),
      );
    }
    firstRow += part.shape[0];
  }
  return matrix;
}

function rowLength(shape: readonly number[]): number {
  return shape.slice(1).reduce((product, size) => product * size, 1);
}

function readWhole(stored: StoredTensor): Float32Array {
  const elements = stored.shape.reduce((product, size) => product * size, 1);
  return widen(stored.dtype, stored.read(0, elements * MATRIX_ELEMENT_BYTES[stored.dtype]));
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
