/** Numbers on a device. Opaque: only the backend that made a handle knows what is behind it. */
export type TensorDtype = "f32" | "u32";

/** A row-major [rows, cols] array of f32 (or u32) values on the device. `cols` of every matmul input is a multiple of 4. */
export interface Tensor {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: TensorDtype;
}

/** How a weight matrix is stored on disk and on the device. Widened to f32 where it is used. */
export type MatrixDtype = "f32" | "f16" | "bf16";

/** A weight matrix [rows = outputs, cols = inputs], written once at load, in the layout its backend likes. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly dtype: MatrixDtype;
}

/** Unsigned integers of one step (token ids, tables, parameters). `values` stays readable on the host. */
export interface Indices {
  readonly values: Uint32Array;
}

export const MATRIX_ELEMENT_BYTES: Record<MatrixDtype, number> = { f32: 4, f16: 2, bf16: 2 };
