/** What every check of the self-test does: a weight with given values, and one step from record to results. */
import { assert } from "../core/assert.ts";
import type { Backend, Step } from "../ops/backend.ts";
import { type Matrix, MATRIX_ELEMENT_BYTES, type MatrixDtype, type Tensor } from "../ops/tensor.ts";

/** A matrix [rows, cols] of values that `dtype` holds exactly. The caller destroys it. */
export function filledMatrix(
  backend: Backend,
  dtype: MatrixDtype,
  rows: number,
  cols: number,
  values: Float32Array,
  quantise: boolean,
): Matrix {
  const matrix = backend.createMatrix(rows, cols, dtype, quantise);
  const bytes = encode(dtype, values);
  assert(bytes.byteLength === rows * cols * MATRIX_ELEMENT_BYTES[dtype], "a matrix is written whole");
  backend.writeMatrix(matrix, 0, bytes);
  return matrix;
}

/** Values as a checkpoint stores them. bf16 is the upper half of an f32; the lower half must be zero. */
function encode(dtype: MatrixDtype, values: Float32Array): Uint8Array {
  switch (dtype) {
    case "f32":
      return new Uint8Array(values.slice().buffer);
    case "f16":
      return new Uint8Array(Float16Array.from(values).buffer);
    case "bf16":
      return new Uint8Array(
        Uint16Array.from(new Uint32Array(values.slice().buffer), (word) => word >>> 16).buffer,
      );
  }
}

/** Records and runs one step; returns the bytes of the tensors that `record` names. */
export async function runStep(
  backend: Backend,
  record: (step: Step) => readonly Tensor[],
): Promise<ArrayBuffer[]> {
  const step = backend.begin();
  let reads: readonly Tensor[];
  try {
    reads = record(step);
  } catch (error) {
    step.abandon();
    throw error;
  }
  return await step.finish(reads);
}
