import assert from "node:assert/strict";
import { fetchPays } from "../../../lib/wasm/fetch.ts";
import { SUMS_BYTES } from "../../../lib/wasm/layout.ts";
import { Draw } from "../../support/cases.ts";
import { assertSameBits } from "../../support/compare.ts";
import { encode } from "../../support/half.ts";
import { withWasm } from "../../support/wasm.ts";

Deno.test("matmul of more outputs than wait for one epilogue, without a bias, has the bits of a zero bias", async () => {
  const depth = 8, outputs = SUMS_BYTES / 4 + 132;
  await withWasm({ threads: 2, weightBytes: 1 << 24 }, async (backend) => {
    const weight = backend.createMatrix(outputs, depth, "f32");
    backend.writeMatrix(weight, 0, new Uint8Array(new Draw(1).normal(outputs * depth).buffer));
    const bias = backend.createTensor(1, outputs);
    for (const rows of [1, 2, 5]) {
      const step = backend.begin();
      const x = step.upload(rows, depth, new Draw(rows).normal(rows * depth));
      const outs = [null, bias].map((added) => {
        const out = step.tensor(rows, outputs);
        step.matmul({ x, weight, bias: added, out });
        return out;
      });
      const [without, zero] = (await step.finish(outs)).map((bytes) => new Float32Array(bytes));
      assert.ok(zero.every((value) => value !== 0), "every output was written");
      assertSameBits(without, zero, `${rows} rows`);
    }
  });
});

Deno.test("rows of a matrix that leaves the nearest caches have the same bits alone and together", async () => {
  // 70 panels, read in streams of 4,096 bytes (f32), the last one of six outputs; as halves they are still more than 1 MiB.
  const depth = 1040, outputs = 558, rows = 25;
  assert.ok(fetchPays(rows, outputs * depth * 2), "the kernel runs");
  await withWasm({ threads: 2, weightBytes: 1 << 24 }, async (backend) => {
    for (const dtype of ["f32", "f16", "bf16"] as const) {
      const weight = backend.createMatrix(outputs, depth, dtype);
      const values = new Draw(2).normal(outputs * depth);
      backend.writeMatrix(weight, 0, encode(dtype, values));
      const x = new Draw(3).normal(rows * depth);
      const product = async (row: number, count: number) => {
        const step = backend.begin(), out = step.tensor(count, outputs);
        step.matmul({
          x: step.upload(count, depth, x.slice(row * depth, (row + count) * depth)),
          weight,
          out,
        });
        return new Float32Array((await step.finish([out]))[0]);
      };
      const together = await product(0, rows);
      for (let row = 0; row < rows; row++) {
        const own = together.slice(row * outputs, (row + 1) * outputs);
        assertSameBits(own, await product(row, 1), `${dtype}, row ${row}`);
      }
    }
  });
});
