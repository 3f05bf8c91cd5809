import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import { kernelsOf, openBackend } from "../../../lib/engine/device.ts";
import { compressorBytes, footprint, requireMemory, weightBytes } from "../../../lib/engine/footprint.ts";
import { LocalEngine } from "../../../lib/engine/local.ts";
import { decideSizing } from "../../../lib/engine/sizing.ts";
import { openModel } from "../../../lib/model/directory.ts";
import { scratchBytes, WasmBackend, wasmCapabilities } from "../../../lib/wasm/backend.ts";

const MIB = 1024 ** 2;
const SIZING = { kvDtype: "f16", kvBytes: null, maxNumSeqs: 8, maxModelLen: 512 } as const;
const model = await openModel(new URL("../../../deploy/model", import.meta.url).pathname);

function refused(pattern: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof StartError && pattern.test(error.message);
}

Deno.test("requireMemory refuses what does not fit, with the whole sum, and takes what just fits", () => {
  const need = { weights: 3000 * MIB, pool: 512 * MIB, features: 8 * MIB, scratch: 18 * MIB };
  requireMemory(need, 3538 * MIB);
  assert.throws(
    () => requireMemory(need, 3537 * MIB),
    refused(
      /needs 3538 MiB of memory and 3537 MiB are available: weights 3000 MiB \+ KV pool 512 MiB \+ picture features 8 MiB \+ scratch 18 MiB/,
    ),
  );
});

for (
  const weights of ["stored", { format: "int8", family: "dot" }, { format: "int4", family: "dot" }] as const
) {
  const name = weights === "stored" ? weights : weights.format;
  Deno.test(`the footprint of the default model, ${name}, is what the backend then holds`, async () => {
    const stored = weightBytes(model.config, model.names, model.source, weights) +
      compressorBytes(model.compressors);
    const sizing = decideSizing(model.config, wasmCapabilities(1), SIZING);
    const need = footprint(stored, sizing, model.config.text.hidden, scratchBytes(1));
    const backend = await openBackend({ backend: "wasm", threads: 1, weights, ...SIZING }, model);
    const engine = new LocalEngine(backend, model, SIZING);
    const held = await engine.liveBytes(), counted = need.weights + need.pool + need.features;
    // Panels are padded by a cache line or two, and vectors are widened.
    assert.ok(
      held >= counted && held < need.pool + need.features + need.weights * 1.1,
      `${held}, not ${counted}`,
    );
    await engine.close();
  });
}

Deno.test("quantised weights are counted in their bits, embeddings and projector as stored", () => {
  const bytes = (format: "int8" | "int4") =>
    weightBytes(model.config, model.names, model.source, { format, family: "dot" });
  const stored = weightBytes(model.config, model.names, model.source, "stored");
  const { text } = model.config;
  const embedding = text.vocab * text.hidden * 2;
  assert.ok(bytes("int4") < bytes("int8") && bytes("int8") < stored);
  assert.ok(bytes("int4") > (stored - embedding) * 5 / 16 + embedding * 0.9);
});

Deno.test("openBackend refuses a model that does not fit before any weight is read", async () => {
  const { text } = model.config;
  const huge = {
    ...model,
    // 2^22 × 2^20 weights of 2 bytes: 8 TiB.
    config: { ...model.config, vision: null, text: { ...text, vocab: 1 << 22, hidden: 1 << 20 } },
    source: Object.assign(Object.create(model.source), {
      tensor: () => ({ dtype: "f16", shape: [], read: () => assert.fail("a weight was read") }),
    }),
  };
  await assert.rejects(
    openBackend({ backend: "wasm", threads: 2, weights: "stored", ...SIZING }, huge),
    refused(/needs \d{7,} MiB .* weights \d{7,} MiB \+ KV pool \d+ MiB/),
  );
});

Deno.test("openBackend refuses quantised weights on WebGPU", async () => {
  await assert.rejects(
    openBackend(
      { backend: "webgpu", threads: 1, weights: { format: "int8", family: "dot" }, ...SIZING },
      model,
    ),
    refused(/need --backend wasm/),
  );
});

Deno.test("kernelsOf names what the default model runs, and starting examines exactly that", async () => {
  const use = kernelsOf(model, { format: "int4", family: "exact" }, "f32");
  // f32 are those of the compressor.
  assert.deepEqual(use.formats, ["f16", "f32", "int4"]);
  assert.deepEqual(use.families, ["exact"]);
  assert.deepEqual(use.caches, [{ dtype: "f32", headDim: model.config.text.headDim }]);
  assert.ok(use.activations.includes("none") && use.activations.includes(model.config.text.activation));
  const backend = await openBackend({
    ...{ backend: "wasm", threads: 1, weights: { format: "int4", family: "exact" } },
    ...{ ...SIZING, kvDtype: "f32" },
  }, model);
  assert.ok(backend instanceof WasmBackend);
  const names = backend.selfTest.map((row) => row.name);
  assert.ok(names.includes("matmul int4 exact") && names.includes("rope and attention f32"));
  assert.ok(names.includes("fold f32"));
  assert.ok(!names.includes("matmul bf16") && !names.includes("matmul int8 exact"));
  backend.close();
});
