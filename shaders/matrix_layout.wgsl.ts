// matrix_layout: how weight matrices lie on the device; part of matmul, embed and pack_matrix.
// Rows in blocks of 8, columns in chunks of 4: [ceil(N/8)][K/4][8 rows][4 columns], f32, or two halves a word.
// One invocation of matmul that computes all 8 outputs of a block streams through consecutive memory, and so do 8
// neighbours that compute one output each. Rows that pad the last block are zero.
// Reference: tests/reference/matmul.ts
import type { MatrixDtype } from "../lib/ops/tensor.ts";

/** Rows (outputs) of a block. */
export const BLOCK_ROWS = 8;

/** WGSL type of one chunk: four values of one row. */
export function chunkType(dtype: MatrixDtype): string {
  return dtype === "f32" ? "vec4<f32>" : "vec2<u32>";
}

/** WGSL `fn widen(chunk) -> vec4<f32>`: exact. */
export function widenFunction(dtype: MatrixDtype): string {
  switch (dtype) {
    case "f32":
      return `fn widen(w: vec4<f32>) -> vec4<f32> { return w; }`;
    case "f16":
      return `fn widen(w: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)); }`;
    case "bf16": // the upper half of an f32
      return `fn widen(w: vec2<u32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(w.x << 16u, w.x & 0xffff0000u, w.y << 16u, w.y & 0xffff0000u));
}`;
  }
}

/** WGSL `fn chunk_at(row, chunk, chunks) -> u32`: index of a row's chunk. */
export const CHUNK_AT = `fn chunk_at(row: u32, chunk: u32, chunks: u32) -> u32 {
  return ((row / ${BLOCK_ROWS}u) * chunks + chunk) * ${BLOCK_ROWS}u + row % ${BLOCK_ROWS}u;
}`;
