import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import type { MatrixDtype } from "../../../lib/ops/tensor.ts";
import { widen } from "../../../lib/ops/widen.ts";
import { PANEL } from "../../../lib/wasm/panel.ts";
import { matrixBytes, panelStride, type WasmMatrix, writeRows } from "../../../lib/wasm/weights.ts";
import { Draw, MATRIX_DTYPES } from "../../support/cases.ts";
import { encode } from "../../support/half.ts";

const ELEMENT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;

/** A matrix alone in a buffer of its own, with a cache line of sentinels behind it. */
function place(rows: number, cols: number, dtype: MatrixDtype): { buffer: ArrayBuffer; matrix: WasmMatrix } {
  const bytes = matrixBytes(rows, cols, dtype);
  const buffer = new ArrayBuffer(bytes + 64);
  new Uint8Array(buffer, bytes).fill(0xaa);
  const matrix: WasmMatrix = {
    ...{ rows, cols, dtype, format: dtype, memory: 0, address: 0 },
    panels: Math.ceil(rows / PANEL),
    panelStride: panelStride(cols, dtype),
    scale: dtype === "f16" ? 2 ** 112 : 1,
    rowsWritten: 0,
  };
  return { buffer, matrix };
}

/** Weight [row, k] as a kernel would see it. */
function weightAt(buffer: ArrayBuffer, matrix: WasmMatrix, row: number, k: number): number {
  const size = ELEMENT_BYTES[matrix.dtype];
  const column = size === 4 ? row % PANEL : [0, 2, 4, 6, 1, 3, 5, 7][row % PANEL];
  const at = Math.floor(row / PANEL) * matrix.panelStride + (k * PANEL + column) * size;
  const [stored] = widen(matrix.dtype, new Uint8Array(buffer, at, size).slice());
  return matrix.dtype === "f16" ? stored * matrix.scale / 2 ** 112 : stored;
}

for (const dtype of MATRIX_DTYPES) {
  Deno.test(`writeRows places every weight of ${dtype}, written in slices in any order, and zeros beside them`, () => {
    for (const [rows, cols] of [[1, 4], [8, 12], [11, 36], [17, 4]]) {
      const { buffer, matrix } = place(rows, cols, dtype);
      const bytes = encode(dtype, new Draw(rows).normal(rows * cols));
      const rowBytes = cols * ELEMENT_BYTES[dtype], cut = Math.floor(rows / 3);
      writeRows(buffer, matrix, cut, bytes.subarray(cut * rowBytes));
      if (cut > 0) writeRows(buffer, matrix, 0, bytes.subarray(0, cut * rowBytes));
      const values = widen(dtype, bytes);
      for (let row = 0; row < matrix.panels * PANEL; row++) {
        for (let k = 0; k < cols; k++) {
          const expected = row < rows ? values[row * cols + k] : 0;
          assert.equal(weightAt(buffer, matrix, row, k), expected, `${rows} × ${cols}, ${row}, ${k}`);
        }
      }
      const behind = new Uint8Array(buffer, matrixBytes(rows, cols, dtype));
      assert.ok(behind.every((byte) => byte === 0xaa), "nothing is written behind the matrix");
    }
  });
}

Deno.test("writeRows scales halves without losing any: all finite ones, subnormal ones too", () => {
  // Halves of both signs up to an exponent field, rounded down to whole rows of 64.
  for (const field of [1, 2, 15, 29, 30]) {
    const magnitudes = Array.from({ length: (field + 1) << 10 }, (_, bits) => bits);
    const halves = Uint16Array.from([...magnitudes, ...magnitudes.map((bits) => bits | 0x8000)]);
    const cols = 64, rows = halves.length / cols;
    const { buffer, matrix } = place(rows, cols, "f16");
    writeRows(buffer, matrix, 0, new Uint8Array(halves.buffer));
    const values = Float32Array.from(new Float16Array(halves.buffer));
    for (const [i, value] of values.entries()) {
      const found = weightAt(buffer, matrix, Math.floor(i / cols), i % cols);
      assert.ok(Object.is(found, value), `half 0x${halves[i].toString(16)}: ${found}, not ${value}`);
    }
    const stored = new Uint16Array(buffer, 0, matrix.panels * matrix.panelStride / 2);
    const subnormal = stored.filter((half) => (half & 0x7c00) === 0 && (half & 0x3ff) !== 0).length;
    // A matrix below 64 (exponent field 20 is 32 to 64) is scaled until none is left.
    if (field <= 20) assert.equal(subnormal, 0, `up to exponent field ${field}`);
  }
});

Deno.test("writeRows leaves a matrix that is all subnormal, or has infinities, as it is", () => {
  for (const bits of [[1, 0x3ff, 0x8001, 0], [0x7c00, 1, 0x3c00, 0xfc00]]) {
    const { buffer, matrix } = place(1, 4, "f16");
    writeRows(buffer, matrix, 0, new Uint8Array(Uint16Array.from(bits).buffer));
    assert.equal(matrix.scale, 2 ** 112);
    const values = Float32Array.from(new Float16Array(Uint16Array.from(bits).buffer));
    for (const [k, value] of values.entries()) assert.equal(weightAt(buffer, matrix, 0, k), value);
  }
});

Deno.test("writeRows refuses parts of rows and rows behind the last", () => {
  const { buffer, matrix } = place(3, 4, "f32");
  assert.throws(() => writeRows(buffer, matrix, 0, new Uint8Array(15)), AssertionError);
  assert.throws(() => writeRows(buffer, matrix, 2, new Uint8Array(32)), AssertionError);
});

Deno.test("panelStride is never a power of two, and whole cache lines", () => {
  for (const cols of [4, 64, 256, 512, 2048]) {
    for (const format of [...MATRIX_DTYPES, "int8", "int4"] as const) {
      const stride = panelStride(cols, format);
      assert.equal(stride % 64, 0);
      if (cols >= 64) assert.notEqual(stride & (stride - 1), 0, `${cols} columns of ${format}`);
    }
  }
});
