import assert from "node:assert/strict";
import { PANEL } from "../../../lib/wasm/panel.ts";
import {
  blockBytes,
  GROUP,
  groups,
  quantisedBytes,
  type QuantisedFormat,
  writeQuantisedRow,
} from "../../../lib/wasm/quantised.ts";
import { Draw } from "../../support/cases.ts";
import { assertSameBits, nmse } from "../../support/compare.ts";
import { withWasm } from "../../support/wasm.ts";

const FORMATS: readonly QuantisedFormat[] = ["int8", "int4"];
const LARGEST = { int8: 127, int4: 7 } as const;

/** One row's weights, read back from column `column` of a panel as the format says they lie. */
function readRow(buffer: ArrayBuffer, format: QuantisedFormat, column: number, cols: number): Float32Array {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  const block = blockBytes(format);
  return Float32Array.from({ length: cols }, (_, k) => {
    const at = Math.floor(k / GROUP) * block, inputs = format === "int8" ? 4 : 8, i = k % GROUP;
    const scale = view.getFloat32(at + block - PANEL * 4 + column * 4, true);
    const byte = at + Math.floor(i / inputs) * 32 + column * 4 + [0, 2, 1, 3][i % 4];
    if (format === "int8") return view.getInt8(byte) * scale;
    return (i % 8 < 4 ? bytes[byte] << 28 >> 28 : view.getInt8(byte) >> 4) * scale;
  });
}

/** A row written into one column of an empty panel, and read back. */
function roundTrip(format: QuantisedFormat, row: Float32Array, column: number): Float32Array {
  const buffer = new ArrayBuffer(groups(row.length) * blockBytes(format));
  writeQuantisedRow(buffer, 0, column, format, row);
  return readRow(buffer, format, column, row.length);
}

/** Weights of outputs by inputs, each group's size its own. */
function drawWeights(seed: number, rows: number, cols: number): Float32Array {
  return new Draw(seed).normal(rows * cols).map((value, i) => value * 10 ** (Math.floor(i / GROUP) % 5 - 2));
}

for (const format of FORMATS) {
  Deno.test(`writeQuantisedRow keeps every weight of ${format} within half a step of its own group`, () => {
    for (const cols of [4, 32, 36, 96, 100]) {
      const row = drawWeights(cols, 1, cols), found = roundTrip(format, row, cols % PANEL);
      for (let first = 0; first < cols; first += GROUP) {
        const group = row.subarray(first, first + GROUP);
        const largest = Math.max(...group.map(Math.abs)), step = largest / LARGEST[format];
        for (const [i, value] of group.entries()) {
          const error = Math.abs(found[first + i] - value);
          assert.ok(error <= step / 2 * (1 + 1e-5), `${cols} columns, ${first + i}: ${error} of ${step}`);
        }
        assert.ok(group.some((value, i) => Math.abs(found[first + i] - value) <= largest * 1e-6));
      }
    }
  });

  Deno.test(`writeQuantisedRow of ${format} leaves the other columns of a panel alone`, () => {
    const cols = 68, buffer = new ArrayBuffer(groups(cols) * blockBytes(format));
    const rows = Array.from({ length: PANEL }, (_, column) => drawWeights(column, 1, cols));
    for (const column of [3, 0, 7, 1, 6, 2, 5, 4]) {
      writeQuantisedRow(buffer, 0, column, format, rows[column]);
    }
    for (const [column, row] of rows.entries()) {
      assertSameBits(
        readRow(buffer, format, column, cols),
        roundTrip(format, row, column),
        `column ${column}`,
      );
    }
  });

  Deno.test(`writeQuantisedRow of ${format} holds zeros, whole steps and both ends exactly`, () => {
    const limit = LARGEST[format];
    const row = Float32Array.from(
      { length: GROUP },
      (_, i) => i === 0 ? -limit : i === 1 ? limit : i % (limit + 1),
    );
    assertSameBits(roundTrip(format, row, 2), row, "whole steps");
    const zeros = new Float32Array(40);
    assert.ok(roundTrip(format, zeros, 5).every((value) => value === 0), "zeros");
  });

  Deno.test(`a product of ${format} exact has the bits of the dequantised weights' product in f32`, async () => {
    await withWasm({ quantise: format, family: "exact", threads: 2 }, async (backend) => {
      for (const [outputs, cols] of [[3, 4], [70, 100], [24, 64]]) {
        const weight = drawWeights(outputs, outputs, cols);
        const plain = new Float32Array(outputs * cols);
        for (let row = 0; row < outputs; row++) {
          plain.set(
            roundTrip(format, weight.subarray(row * cols, (row + 1) * cols), row % PANEL),
            row * cols,
          );
        }
        const quantised = backend.createMatrix(outputs, cols, "f32", true);
        const dequantised = backend.createMatrix(outputs, cols, "f32");
        backend.writeMatrix(quantised, 0, new Uint8Array(weight.buffer));
        backend.writeMatrix(dequantised, 0, new Uint8Array(plain.buffer));
        for (const rows of [1, 2, 3, 6, 7, 16]) {
          const x = new Draw(rows).normal(rows * cols);
          const step = backend.begin();
          const outs = [quantised, dequantised].map((weight) => {
            const out = step.tensor(rows, outputs);
            step.matmul({ x: step.upload(rows, cols, x), weight, out });
            return out;
          });
          const [found, expected] = (await step.finish(outs)).map((bytes) => new Float32Array(bytes));
          assertSameBits(found, expected, `${outputs} × ${cols}, ${rows} rows`);
        }
      }
    });
  });

  Deno.test(`a product of ${format} dot is the exact one but for the rounding of its rows to 15 bits`, async () => {
    const rows = 5, outputs = 40, cols = 100;
    const weight = drawWeights(1, outputs, cols), x = new Draw(2).normal(rows * cols);
    const product = (family: "exact" | "dot") =>
      withWasm({ quantise: format, family }, async (backend) => {
        const matrix = backend.createMatrix(outputs, cols, "f32", true);
        backend.writeMatrix(matrix, 0, new Uint8Array(weight.buffer));
        const step = backend.begin(), out = step.tensor(rows, outputs);
        step.matmul({ x: step.upload(rows, cols, x), weight: matrix, out });
        return new Float32Array((await step.finish([out]))[0]);
      });
    const exact = await product("exact"), dot = await product("dot");
    const error = nmse(dot, exact);
    assert.ok(error > 0 && error < 2e-8, `NMSE ${error}`);
  });

  Deno.test(`a matrix that may not be quantised keeps its values on a backend of ${format}`, async () => {
    await withWasm({ quantise: format }, async (backend) => {
      const values = Float32Array.of(1, 1e-3, 2, 3e-5);
      const matrix = backend.createMatrix(1, 4, "f32");
      backend.writeMatrix(matrix, 0, new Uint8Array(values.buffer));
      const step = backend.begin(), out = step.tensor(4, 1);
      const unit = Float32Array.from({ length: 16 }, (_, i) => i % 5 === 0 ? 1 : 0);
      step.matmul({ x: step.upload(4, 4, unit), weight: matrix, out });
      assertSameBits(new Float32Array((await step.finish([out]))[0]), values, "weights");
    });
  });
}

Deno.test("quantisedBytes counts weights and scales: 9 bits and 5 bits a weight", () => {
  assert.equal(quantisedBytes("int8", 256 * 100), 100 * 288);
  assert.equal(quantisedBytes("int4", 256 * 100), 100 * 160);
});
