/**
 * Weight matrices as the kernels read them. Panel p holds outputs 8p … 8p + 7: [k][8 outputs], k up to cols; missing
 * outputs are zero. Values of 16 bits lie in the order 0, 4, 1, 5, 2, 6, 3, 7. Panels stand `panelStride` bytes apart, a cache line more than they take, so that strides are not
 * powers of two (those alias in the cache). f16 values are scaled by 2^shift, the largest that keeps the matrix below
 * 65,504: no subnormals are left where the matrix's largest value is below 64; kernels fold 2^−shift into an activation.
 */
import { assert } from "../core/assert.ts";
import { widen } from "../ops/widen.ts";
import { type Matrix, MATRIX_ELEMENT_BYTES, type MatrixDtype } from "../ops/tensor.ts";
import { PANEL } from "./panel.ts";
import { blockBytes, groups, type QuantisedFormat, writeQuantisedRow } from "./quantised.ts";

const CACHE_LINE = 64;

/** How a matrix is stored here: as on disk, or quantised (see quantised.ts). */
export type StorageFormat = MatrixDtype | QuantisedFormat;

export interface WasmMatrix extends Matrix {
  /** Which weight memory, and where in it. */
  readonly memory: number;
  readonly address: number;
  readonly panels: number;
  readonly panelStride: number;
  readonly format: StorageFormat;
  /** What a converted weight is to be multiplied by: 1, and for f16 2^(112 − shift) (see conversion in matmul.ts). */
  scale: number;
  rowsWritten: number;
}

export function isQuantised(format: StorageFormat): format is QuantisedFormat {
  return format === "int8" || format === "int4";
}

/** Where in a panel's eight values of one k an output is. */
export function columnOf(dtype: MatrixDtype, output: number): number {
  const column = output % PANEL;
  return dtype === "f32" ? column : 2 * (column % 4) + (column >> 2);
}

export function panelStride(cols: number, format: StorageFormat): number {
  const bytes = isQuantised(format)
    ? groups(cols) * blockBytes(format)
    : cols * PANEL * MATRIX_ELEMENT_BYTES[format];
  return Math.ceil(bytes / CACHE_LINE) * CACHE_LINE + CACHE_LINE;
}

export function matrixBytes(rows: number, cols: number, format: StorageFormat): number {
  return Math.ceil(rows / PANEL) * panelStride(cols, format);
}

/** Copies whole rows, as stored on disk, to their panels, quantised if the matrix is. Scales an f16 matrix once its last row is there. */
export function writeRows(
  buffer: ArrayBufferLike,
  matrix: WasmMatrix,
  firstRow: number,
  bytes: Uint8Array,
): void {
  const { cols, dtype, format } = matrix;
  const size = MATRIX_ELEMENT_BYTES[dtype];
  assert(bytes.byteLength % (cols * size) === 0, "whole rows are written");
  const rows = bytes.byteLength / (cols * size);
  assert(firstRow + rows <= matrix.rows, "rows fit the matrix");
  if (isQuantised(format)) {
    const values = widen(dtype, bytes);
    for (let row = 0; row < rows; row++) {
      const output = firstRow + row;
      const panel = matrix.address + Math.floor(output / PANEL) * matrix.panelStride;
      writeQuantisedRow(buffer, panel, output % PANEL, format, values.subarray(row * cols, (row + 1) * cols));
    }
    return;
  }
  const source = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const from = elements(source.buffer, source.byteOffset, rows * cols, size);
  const to = elements(buffer, matrix.address, matrix.panels * matrix.panelStride / size, size);
  const stride = matrix.panelStride / size;
  for (let row = 0; row < rows; row++) {
    const output = firstRow + row;
    let at = Math.floor(output / PANEL) * stride + columnOf(dtype, output);
    for (let k = 0, i = row * cols; k < cols; k++, i++, at += PANEL) to[at] = from[i];
  }
  matrix.rowsWritten += rows;
  if (dtype === "f16" && matrix.rowsWritten === matrix.rows) scaleHalves(to as Uint16Array, matrix);
}

function elements(
  buffer: ArrayBufferLike,
  at: number,
  count: number,
  size: number,
): Uint16Array | Uint32Array {
  return size === 2 ? new Uint16Array(buffer, at, count) : new Uint32Array(buffer, at, count);
}

/** Multiplies all halves by the largest power of two that keeps them finite, and remembers it in `scale`. */
function scaleHalves(halves: Uint16Array, matrix: WasmMatrix): void {
  let largest = 0;
  for (let i = 0; i < halves.length; i++) {
    const magnitude = halves[i] & 0x7fff;
    if (magnitude > largest) largest = magnitude;
  }
  // A half's exponent field goes to 30; a matrix that is all subnormal or has infinities is left alone.
  const exponent = largest >> 10;
  const shift = exponent === 0 || exponent > 30 ? 0 : 30 - exponent;
  if (shift > 0) {
    const floats = new Float16Array(halves.buffer, halves.byteOffset, halves.length);
    const factor = 2 ** shift;
    for (let i = 0; i < halves.length; i++) {
      const field = halves[i] & 0x7c00;
      if (field !== 0) halves[i] += shift << 10;
      else if ((halves[i] & 0x3ff) !== 0) floats[i] *= factor;
    }
  }
  matrix.scale = 2 ** (112 - shift);
}
