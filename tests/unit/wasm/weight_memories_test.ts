import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import { weightMemories } from "../../../lib/wasm/backend.ts";
import type { StorageFormat } from "../../../lib/wasm/weights.ts";
import { Draw } from "../../support/cases.ts";
import { assertClose } from "../../support/compare.ts";
import { encode } from "../../support/half.ts";
import { withWasm } from "../../support/wasm.ts";

const OUTPUTS = 72, COLS = 128;
/** The smallest memory there is. */
const MEMORY_BYTES = 64 * 1024;
/** Matrices that do not fit one of them: 36 KiB each in f32, 18 in 16 bits, 10.1 and 5.6 in 8 and 4 with scales. */
const COUNTS = { f32: 3, f16: 5, bf16: 5, int8: 8, int4: 14 } as const;

/** The memories of these matrices, and what each multiplies to and embeds. */
async function products(format: StorageFormat, bytesAMemory: number | undefined): Promise<{
  readonly memories: number[];
  readonly results: Float32Array[];
}> {
  const quantise = format === "int8" || format === "int4" ? format : "stored";
  const dtype = format === "int8" || format === "int4" ? "f32" : format;
  const draw = new Draw(3);
  return await withWasm(
    { threads: 2, weightBytes: 4 * MEMORY_BYTES, bytesAMemory, quantise },
    async (backend) => {
      const matrices = Array.from({ length: COUNTS[format] }, () => {
        const matrix = backend.createMatrix(OUTPUTS, COLS, dtype, true);
        backend.writeMatrix(matrix, 0, encode(dtype, draw.normal(OUTPUTS * COLS)));
        return matrix;
      });
      const step = backend.begin();
      const outs = matrices.flatMap((weight) =>
        [1, 2, 7].map((rows) => {
          const out = step.tensor(rows, OUTPUTS);
          step.matmul({ x: step.upload(rows, COLS, draw.normal(rows * COLS)), weight, out });
          return out;
        })
      );
      if (quantise === "stored") {
        for (const table of matrices) {
          const out = step.tensor(3, COLS);
          step.embed({ table, features: null, tokens: step.indices(Uint32Array.of(0, 71, 8)), out });
          outs.push(out);
        }
      }
      const results = (await step.finish(outs)).map((bytes) => new Float32Array(bytes));
      return { memories: matrices.map(({ memory }) => memory), results };
    },
  );
}

for (const format of ["f32", "f16", "bf16", "int8", "int4"] as const) {
  Deno.test(`weights of ${format} beyond one memory go to the next, and multiply as they do in one`, async () => {
    const many = await products(format, MEMORY_BYTES), one = await products(format, undefined);
    assert.ok(new Set(many.memories).size >= 2, `memories ${many.memories}`);
    assert.deepEqual(new Set(one.memories), new Set([0]));
    for (const [i, result] of many.results.entries()) {
      assertClose(result, one.results[i], "exact", `${format} result ${i}`);
      assert.ok(result.some((value) => value !== 0));
    }
  });
}

Deno.test("a matrix that fits no memory is refused with its size", async () => {
  await withWasm({ bytesAMemory: MEMORY_BYTES, weightBytes: MEMORY_BYTES }, (backend) => {
    assert.throws(
      () => backend.createMatrix(1024, 1024, "f32"),
      (error) => error instanceof StartError && /matrix of 1024 by 1024/.test(error.message),
    );
    return Promise.resolve();
  });
});

Deno.test("a matrix given back makes room for another in its memory", async () => {
  await withWasm({ bytesAMemory: MEMORY_BYTES, weightBytes: 1024 }, (backend) => {
    const first = backend.createMatrix(OUTPUTS, COLS, "f32");
    assert.throws(() => backend.createMatrix(OUTPUTS, COLS, "f32"), StartError);
    backend.destroyMatrix(first);
    assert.equal(backend.liveBytes(), 0);
    assert.equal(backend.createMatrix(OUTPUTS, COLS, "f32").address, first.address);
    return Promise.resolve();
  });
});

Deno.test("weightMemories reserves little for a small model, and as many whole memories as a large one needs", () => {
  const GIB = 1024 ** 3;
  assert.deepEqual(weightMemories(30 * 1024 ** 2, 4 * GIB), { count: 1, bytes: GIB / 2 });
  assert.deepEqual(weightMemories(GIB, 4 * GIB), { count: 1, bytes: 2 * GIB });
  assert.deepEqual(weightMemories(13 * GIB, 4 * GIB), { count: 4, bytes: 4 * GIB });
  assert.deepEqual(weightMemories(1024, MEMORY_BYTES), { count: 1, bytes: MEMORY_BYTES });
});
