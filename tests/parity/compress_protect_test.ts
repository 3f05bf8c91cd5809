/** Protected slots on the engine: they stay in every layer and head, and among the others the method chooses as it would. */
import assert from "node:assert/strict";
import { METHOD_NAMES } from "../../lib/engine/compress/method.ts";
import { keptByLayer, METHODS } from "../../lib/engine/compress/mod.ts";
import { parseCompression } from "../../lib/engine/compress/settings.ts";
import { LocalEngine } from "../../lib/engine/local.ts";
import { testModel } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { CompressedPrompt, PageDeck, sampledBy } from "../support/compressed.ts";
import { randomModel } from "../support/random_model.ts";

const SLOTS = 90;
/** The middle of the prompt, and its end, which windows look from. */
const PROTECT = [{ first: 20, count: 13 }, { first: 85, count: 5 }];
const FIXED = 18;
const SETTINGS: Record<string, Record<string, unknown>> = {
  snapkv: { window_size: 8 },
  pyramidkv: { window_size: 4, beta: 4 },
  lagkv: { lag_size: 8 },
};

const isProtected = (slot: number) =>
  PROTECT.some(({ first, count }) => slot >= first && slot < first + count);

testModel("compress keeps protected slots beside what each method chooses of the others", async (backend) => {
  const engine = new LocalEngine(backend, randomModel("f32"), {
    ...{ kvBytes: 12 * 1024 ** 2, kvDtype: "f32" },
    ...{ maxNumSeqs: 8, maxModelLen: null },
  });
  const { layers, shape: { kvHeads } } = engine.facts;
  const methods = METHOD_NAMES.filter((method) => method !== "none" && METHODS[method].protects);
  const deck = new PageDeck(engine, 3), tokens = new Draw(1).integers(SLOTS, 60);
  const promptsOf = (protect: typeof PROTECT) =>
    methods.map((method) => {
      const parsed = parseCompression({ method, ratio: 0.75, ...SETTINGS[method] });
      assert(parsed.ok);
      return new CompressedPrompt(engine, deck, tokens, parsed.compression, { protect });
    });
  const guarded = promptsOf(PROTECT), free = promptsOf([]);
  for (const list of [guarded, free]) await sampledBy(engine, list.map((prompt) => prompt.part(SLOTS)));
  const all = [...guarded, ...free].map(({ sequence }) => sequence);
  const tables = await engine.observeCompression(all);
  for (const [i, { sequence }] of guarded.entries()) {
    const { method } = sequence.compression, table = tables.get(sequence)!;
    const other = free[i].sequence, otherTable = tables.get(other)!;
    const rest = { slots: sequence.slots.map((slots) => slots - FIXED), images: [] };
    const expected = keptByLayer(sequence.compression, rest).map((count) => count + FIXED);
    assert.deepEqual(sequence.kept, expected, method);
    const width = table.length / layers / kvHeads, otherWidth = otherTable.length / layers / kvHeads;
    for (let row = 0; row < layers * kvHeads; row++) {
      const layer = Math.floor(row / kvHeads);
      const slots = table.subarray(row * width, row * width + sequence.kept[layer]);
      assert.deepEqual(
        [...slots],
        [...new Set(slots)].sort((a, b) => a - b),
        `${method} chooses each slot once`,
      );
      assert.equal(slots.filter(isProtected).length, FIXED, `${method} keeps what is protected`);
      if (method === "random" || method === "streaming") continue;
      // Both are the best of the same ranking, so that one goes on where the other ends.
      const chosen = new Set(slots.filter((slot) => !isProtected(slot)));
      const usual = new Set(
        otherTable.subarray(row * otherWidth, row * otherWidth + other.kept[layer])
          .filter((slot) => !isProtected(slot)),
      );
      assert(chosen.isSubsetOf(usual) || usual.isSubsetOf(chosen), `${method} ranks the others as ever`);
    }
  }
  await engine.close();
});
