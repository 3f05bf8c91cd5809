/** Methods that keep a window, where no more than the window remains: which slots, on every backend. */
import assert from "node:assert/strict";
import type { SlotSpan } from "../../lib/engine/compress/method.ts";
import { parseCompression } from "../../lib/engine/compress/settings.ts";
import { LocalEngine } from "../../lib/engine/local.ts";
import { testModel } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { CompressedPrompt, PageDeck, sampledBy } from "../support/compressed.ts";
import { IMAGE_TOKEN, randomModel } from "../support/random_model.ts";

const SLOTS = 50;
const upTo = (first: number, end: number) => Array.from({ length: end - first }, (_, i) => first + i);

interface Case {
  readonly wish: Record<string, unknown>;
  readonly protect?: readonly SlotSpan[];
  readonly kept: readonly number[];
}

/** 25 slots remain of a window of 32; of chunks of 6 the last, of 2 slots, and three more. */
const CASES: readonly Case[] = [
  { wish: { method: "snapkv", window_size: 32 }, kept: upTo(18, 43) },
  { wish: { method: "snapkv", window_size: 64 }, kept: upTo(0, 25) },
  { wish: { method: "pyramidkv", window_size: 32 }, kept: upTo(18, 43) },
  { wish: { method: "chunkkv", window_size: 32, chunk_length: 6 }, kept: [...upTo(18, 36), 48, 49] },
  {
    // Half of the other 43.
    wish: { method: "snapkv", window_size: 32 },
    protect: [{ first: 3, count: 5 }, { first: 17, count: 2 }],
    kept: [...upTo(3, 8), 17, ...upTo(18, 40)],
  },
];

testModel(
  "compress takes the window's first slots where no more remain, beside prompts that scores decide",
  async (backend) => {
    const engine = new LocalEngine(backend, randomModel("f32"), {
      ...{ kvBytes: 12 * 1024 ** 2, kvDtype: "f32", maxNumSeqs: 8, maxModelLen: null },
    });
    const deck = new PageDeck(engine, 3), { layers, shape } = engine.facts;
    const prompt = ({ wish, protect }: Pick<Case, "wish" | "protect">, i: number, ratio: number) => {
      const parsed = parseCompression({ ...wish, ratio });
      assert(parsed.ok);
      const tokens = new Draw(i).integers(SLOTS, IMAGE_TOKEN);
      return new CompressedPrompt(engine, deck, tokens, parsed.compression, {
        ...{ images: [], seed: [0, 0], protect },
      });
    };
    const own = CASES.map((one, i) => prompt(one, i, 0.5));
    // Of these more remain than the window has.
    const others = CASES.slice(0, 1).map((one, i) => prompt(one, i, 0.2));
    await sampledBy(engine, [...own, ...others].map((one) => one.part(SLOTS)));
    const chosen = await engine.observeCompression([...own, ...others].map(({ sequence }) => sequence));
    for (const [i, { sequence }] of own.entries()) {
      const table = chosen.get(sequence)!, rows = layers * shape.kvHeads, width = table.length / rows;
      for (let row = 0; row < rows; row++) {
        const kept = [...table.subarray(row * width, row * width + CASES[i].kept.length)];
        assert.deepEqual(kept, CASES[i].kept, `case ${i} row ${row}`);
      }
    }
    const scored = chosen.get(others[0].sequence)!;
    assert.deepEqual([...scored.subarray(8, 40)], upTo(18, SLOTS));
    await engine.close();
  },
);
