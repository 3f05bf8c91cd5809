import assert from "node:assert/strict";
import { SUMS_BYTES } from "../../../lib/wasm/layout.ts";
import { Draw } from "../../support/cases.ts";
import { assertSameBits } from "../../support/compare.ts";
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
