/** Every method through the engine, on a model with pictures: alone, beside others, and after a prompt in chunks. */
import assert from "node:assert/strict";
import { withTrained } from "../../lib/engine/compress/learned.ts";
import { METHOD_NAMES, type MethodName } from "../../lib/engine/compress/method.ts";
import { parseCompression } from "../../lib/engine/compress/settings.ts";
import { LocalEngine } from "../../lib/engine/local.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { testModel } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { CompressedPrompt, PageDeck, sampledBy } from "../support/compressed.ts";
import { randomCompressor } from "../support/compressors.ts";
import { IMAGE_TOKEN, randomModel } from "../support/random_model.ts";
import type { Backend } from "../../lib/ops/backend.ts";

const SETTINGS: Partial<Record<MethodName, Record<string, unknown>>> = {
  snapkv: { window_size: 8 },
  pyramidkv: { window_size: 4, beta: 4 },
  chunkkv: { window_size: 8, chunk_length: 6 },
  lagkv: { lag_size: 8 },
  "expected-attention": { n_future_positions: 40 },
};

function openEngine(backend: Backend, kvDtype: KvDtype): LocalEngine {
  const model = randomModel("f32");
  const compressors = [randomCompressor(new Draw(4), model.config.text, { factor: 2 })];
  return new LocalEngine(backend, { ...model, compressors }, {
    ...{ kvBytes: 12 * 1024 ** 2, kvDtype },
    ...{ maxNumSeqs: 8, maxModelLen: null },
  });
}

/** A prompt of every method, of lengths that differ, two of them with pictures. */
function prompts(engine: LocalEngine, deck: PageDeck): CompressedPrompt[] {
  return METHOD_NAMES.map((method, i) => {
    const length = 50 + 7 * i, tokens = new Draw(i).integers(length, IMAGE_TOKEN);
    // Every other one packs what it keeps, which for the shorter prompts is one group and a rest.
    const packing = i % 2 === 0
      ? { quantize: i % 4 === 0 ? "int8" : "int4", tail: i % 8 < 4 ? "group" : "float" }
      : {};
    const size = method === "none" ? {} : { ratio: 0.5 };
    const parsed = parseCompression({ method, ...size, ...SETTINGS[method], ...packing });
    assert(parsed.ok);
    const trained = withTrained(parsed.compression, engine.facts.compressors);
    assert("compression" in trained);
    const images = [{ first: 0, count: 9 }, { first: 20, count: 25 }];
    return new CompressedPrompt(engine, deck, tokens, trained.compression, { images, seed: [i, 5] });
  });
}

/** What each prompt samples from its compressed cache, then from the token after. */
async function continued(engine: LocalEngine, list: readonly CompressedPrompt[]) {
  const first = await sampledBy(engine, list.map((prompt) => prompt.tokenPart(7, 0)));
  return [first, await sampledBy(engine, list.map((prompt) => prompt.tokenPart(9, 1)))];
}

for (const kvDtype of ["f32", "f16"] as const) {
  testModel(
    `compress of all methods in one batch gives the bits of one by one, ${kvDtype} KV`,
    async (backend) => {
      const engine = openEngine(backend, kvDtype), deck = new PageDeck(engine, 3);
      const together = prompts(engine, deck), apart = prompts(engine, deck);
      for (const list of [together, apart]) {
        await sampledBy(engine, list.map((prompt) => prompt.part(prompt.tokens.length)));
      }
      const chosen = await engine.observeCompression(together.map(({ sequence }) => sequence));
      for (const [i, { sequence }] of apart.entries()) {
        const alone = (await engine.observeCompression([sequence])).get(sequence);
        assert.deepEqual(chosen.get(together[i].sequence), alone, sequence.compression.method);
      }
      assert.deepEqual(await continued(engine, apart), await continued(engine, together));
      await engine.close();
    },
  );
}

testModel("compress keeps the same after a prompt in chunks as after the whole", async (backend) => {
  const engine = openEngine(backend, "f32"), deck = new PageDeck(engine, 4);
  const whole = prompts(engine, deck), cut = prompts(engine, deck);
  await sampledBy(engine, whole.map((prompt) => prompt.part(prompt.tokens.length)));
  // The last chunks begin inside and before a window.
  for (const size of [3, 30, 13]) await engine.forward(cut.map((prompt) => prompt.part(size)));
  for (const prompt of cut) await engine.forward([prompt.part(prompt.tokens.length - 46 - 1)]);
  await sampledBy(engine, cut.map((prompt) => prompt.part(1)));
  const expected = await engine.observeCompression(whole.map(({ sequence }) => sequence));
  const found = await engine.observeCompression(cut.map(({ sequence }) => sequence));
  for (const [i, { sequence }] of whole.entries()) {
    assert.deepEqual(found.get(cut[i].sequence), expected.get(sequence), sequence.compression.method);
  }
  await engine.close();
});

testModel(
  "compress by look-m keeps all text, and the picture's slots that were looked at",
  async (backend) => {
    const engine = openEngine(backend, "f32"), deck = new PageDeck(engine, 5);
    const parsed = parseCompression({ method: "look-m", ratio: 0.5 });
    assert(parsed.ok);
    const images = [{ first: 10, count: 60 }];
    const prompt = new CompressedPrompt(
      engine,
      deck,
      new Draw(1).integers(100, IMAGE_TOKEN),
      parsed.compression,
      {
        images,
      },
    );
    await sampledBy(engine, [prompt.part(100)]);
    const { sequence } = prompt, table = (await engine.observeCompression([sequence])).get(sequence)!;
    const width = table.length / engine.facts.layers / engine.facts.shape.kvHeads;
    assert.equal(width, 50);
    for (let row = 0; row < table.length; row += width) {
      const kept: Set<number> = new Set(table.subarray(row, row + width));
      for (let slot = 0; slot < 100; slot++) {
        if (slot < 10 || slot >= 70) {
          assert(kept.has(slot), `slot ${slot}`);
        }
      }
      assert.equal(kept.size, 50);
    }
    await engine.close();
  },
);
