import assert from "node:assert/strict";
import { weightBytes } from "../../../lib/engine/footprint.ts";
import { LocalEngine } from "../../../lib/engine/local.ts";
import { type Matrix, MATRIX_ELEMENT_BYTES, type MatrixDtype } from "../../../lib/ops/tensor.ts";
import { FROZEN_COPIES, FrozenDecoder, type Item } from "../../../lib/train/decoder.ts";
import { type Cache, emptyCache } from "../../../lib/train/span.ts";
import { ReferenceBackend } from "../../reference/backend.ts";
import { Draw } from "../../support/cases.ts";
import { assertClose } from "../../support/compare.ts";
import { promptPart, takePages } from "../../support/generate.ts";
import { randomModel } from "../../support/random_model.ts";
import { assertGradient, dot } from "./finite_difference.ts";

const model = randomModel("f32");
const { text } = model.config;
const width = text.kvHeads * text.headDim;

function randomCaches(draw: Draw, counts: readonly number[]): Cache[] {
  return counts.map((slots) => {
    // As many more as the layer's number: layers need not store the same.
    const cache = emptyCache(Array.from({ length: text.layers }, (_, layer) => slots + layer), width);
    for (const part of [...cache.keys, ...cache.values]) part.set(draw.normal(part.length, 0.7));
    return cache;
  });
}

Deno.test("FrozenDecoder computes what the engine does: tokens after none, in two sequences of one pass", async () => {
  const backend = new ReferenceBackend();
  const decoder = new FrozenDecoder(backend, text, model.names, model.source);
  const tokens = new Draw(1).integers(9, 200);
  const items: Item[] = [
    { tokens: Uint32Array.of(5, 6), position: 3, caches: [] },
    { tokens, position: 0, caches: [] },
  ];
  const pass = await decoder.forward(items, []);
  const engine = new LocalEngine(new ReferenceBackend(), model, {
    kvDtype: "f32",
    kvBytes: null,
    maxNumSeqs: 1,
    maxModelLen: null,
  });
  const expected = await engine.observe(null, promptPart(engine, tokens, takePages(engine, { page: 0 }, 9)));
  for (let layer = 0; layer < text.layers; layer++) {
    assertClose(
      pass.hidden[layer].subarray(2 * text.hidden),
      expected.get(`text.layer.${layer}.output`)!,
      "reduce",
      `layer ${layer}`,
    );
  }
  assertClose(pass.logits.subarray(10 * text.vocab), expected.get("logits.last")!, "reduce", "logits");
  await engine.close();
});

Deno.test("FrozenDecoder's gradients of the caches agree with small changes, through logits and hidden states", async () => {
  const decoder = new FrozenDecoder(new ReferenceBackend(), text, model.names, model.source);
  const draw = new Draw(2), caches = randomCaches(draw, [4, 3, 2]);
  // Both sequences read the first cache.
  const items: Item[] = [
    { tokens: Uint32Array.of(7, 8, 9), position: 20, caches: [0, 1] },
    { tokens: Uint32Array.of(11), position: 30, caches: [0, 2] },
  ];
  const dlogits = draw.normal(4 * text.vocab, 0.3);
  const dhidden = Array.from({ length: text.layers }, () => draw.normal(4 * text.hidden, 0.3));
  const loss = async () => {
    const pass = await decoder.forward(items, caches);
    return pass.hidden.reduce((sum, hidden, l) => sum + dot(hidden, dhidden[l]), dot(pass.logits, dlogits));
  };
  const gradients = await decoder.backward(await decoder.forward(items, caches), dlogits, dhidden);
  assert.equal(gradients.length, 3);
  for (const [c, cache] of caches.entries()) {
    for (let layer = 0; layer < text.layers; layer++) {
      for (const part of ["keys", "values"] as const) {
        await assertGradient(
          loss,
          cache[part][layer],
          gradients[c][part][layer],
          `cache ${c} ${part} ${layer}`,
          {
            every: 7,
            step: 2e-2,
            tolerance: 1e-2,
          },
        );
      }
    }
  }
});

for (const dtype of ["f32", "f16", "bf16"] as const) {
  Deno.test(`FrozenDecoder loads no more than FROZEN_COPIES times the bytes of a model of ${dtype}`, () => {
    // The worst case: nothing but text, and an embedding that is the head too.
    const { names, source, ...model } = randomModel(dtype);
    const config = { ...model.config, text: { ...text, tiedEmbeddings: true }, vision: null };
    let bytes = 0;
    const backend = new class extends ReferenceBackend {
      override createMatrix(rows: number, cols: number, dtype: MatrixDtype): Matrix {
        bytes += rows * cols * MATRIX_ELEMENT_BYTES[dtype];
        return super.createMatrix(rows, cols, dtype);
      }
    }();
    new FrozenDecoder(backend, config.text, names, source);
    const most = FROZEN_COPIES * weightBytes(config, names, source, "stored");
    assert.ok(bytes > 0 && bytes <= most, `${bytes} of at most ${most} bytes`);
  });
}
