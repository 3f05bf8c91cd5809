/** A whole small model: the operations in the order and shapes in which the engine calls them. */
import assert from "node:assert/strict";
import { LocalEngine } from "../../lib/engine/local.ts";
import type { Backend } from "../../lib/ops/backend.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import type { MatrixDtype } from "../../lib/ops/tensor.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import {
  generate,
  GREEDY_TOP5,
  placeFeatures,
  plainPositions,
  promptPart,
  takePages,
} from "../support/generate.ts";
import { IMAGE_TOKEN, randomModel, randomPixels } from "../support/random_model.ts";
import type { Scope } from "../support/scope.ts";

/** A picture's 25 tokens between text. */
const PROMPT = [1, 17, ...new Array<number>(25).fill(IMAGE_TOKEN), 5, 99, 42, 8];

function openEngine(backend: Backend, dtype: MatrixDtype, kvDtype: KvDtype): LocalEngine {
  return new LocalEngine(backend, randomModel(dtype), {
    kvDtype,
    kvBytes: 1 << 20,
    maxNumSeqs: 8,
    maxModelLen: null,
  });
}

const IMAGE = { pixels: randomPixels(1), height: 22, width: 22, embeddingRow: 3, embeddingRows: 25 };

async function intermediates(scope: Scope, dtype: MatrixDtype, kvDtype: KvDtype): Promise<Float32Array[]> {
  const engine = openEngine(scope.backend, dtype, kvDtype);
  const tokens = placeFeatures(PROMPT, IMAGE_TOKEN, IMAGE.embeddingRow);
  const tables = takePages(engine, { page: 5 }, tokens.length);
  const seen = await engine.observe(IMAGE, promptPart(engine, tokens, tables));
  assert.ok(
    seen.has("projector.output") && seen.has("logits.last"),
    "the model was observed from end to end",
  );
  return [...seen.values()];
}

testParity(
  "LocalEngine computes every intermediate of a picture and a prompt, f32 pages",
  "reduce",
  ["f32", "f16", "bf16"] as const,
  (scope, dtype) => intermediates(scope, dtype, "f32"),
);

testParity(
  "LocalEngine computes every intermediate of a picture and a prompt, f16 pages",
  "f16",
  ["bf16"] as const,
  (scope, dtype) => intermediates(scope, dtype, "f16"),
);

testEach(
  "LocalEngine generates the same alone, beside others, and from a prompt in chunks",
  async (scope) => {
    const engine = openEngine(scope.backend, "f16", "f16");
    const draw = new Draw(2);
    const prompts = [3, 40, 17, 1, 65].map((length) => draw.integers(length, IMAGE_TOKEN));
    const together = await generate(engine, prompts, 6);
    for (const [i, prompt] of prompts.entries()) {
      const [alone] = await generate(engine, [prompt], 6);
      assert.deepEqual(together[i], alone, `prompt ${i}`);
    }
    const prompt = prompts[4], [tables] = [takePages(engine, { page: 0 }, prompt.length)];
    let first = 0;
    for (const size of [1, 30, 16, 18]) {
      const [result] = await engine.forward([{
        tokens: prompt.slice(first, first + size),
        positions: plainPositions(first, size),
        slotBase: new Uint32Array(engine.facts.layers).fill(first),
        pageTables: tables,
        sampling: first + size === prompt.length ? GREEDY_TOP5 : null,
        sampled: 0,
      }]);
      first += size;
      if (first === prompt.length) {
        assert.deepEqual(
          result,
          together[4][0],
          "the first token after four chunks",
        );
      }
    }
  },
);

for (const method of ["streaming", "knorm", "mean-pool"] as const) {
  testEach(
    `LocalEngine goes on after ${method} with what the method keeps, alone and beside others`,
    async (scope) => {
      const engine = openEngine(scope.backend, "f32", "f32");
      const draw = new Draw(3), next = { page: 0 };
      const ratio = 0.5, kept = [20, 9];
      const prompts = [40, 18].map((length) => draw.integers(length, IMAGE_TOKEN));
      const sources = prompts.map((prompt) => takePages(engine, next, prompt.length));
      await engine.forward(prompts.map((prompt, i) => promptPart(engine, prompt, sources[i])));
      const decode = (order: readonly number[], targets: readonly (readonly Uint32Array[])[]) =>
        engine.forward(order.map((i) => ({
          tokens: Uint32Array.of(7),
          positions: plainPositions(prompts[i].length, 1),
          slotBase: new Uint32Array(engine.facts.layers).fill(kept[i]),
          pageTables: targets[i],
          sampling: GREEDY_TOP5,
          sampled: 1,
        })));
      const compressed = async (orders: readonly (readonly number[])[]) => {
        const targets = kept.map((slots) => takePages(engine, next, slots + 1));
        for (const order of orders) {
          await engine.compress(order.map((i) => ({
            method,
            ratio,
            slots: new Uint32Array(engine.facts.layers).fill(prompts[i].length),
            kept: new Uint32Array(engine.facts.layers).fill(kept[i]),
            sourceTables: sources[i],
            targetTables: targets[i],
            images: [],
          })));
        }
        return targets;
      };
      const apart = await compressed([[0], [1]]), together = await compressed([[0, 1]]);
      const results = await decode([0, 1], together);
      assert.deepEqual([...await decode([0], apart), ...await decode([1], apart)], results);
      const full = await engine.forward([{
        tokens: Uint32Array.of(7),
        positions: plainPositions(40, 1),
        slotBase: new Uint32Array(engine.facts.layers).fill(40),
        pageTables: sources[0].map((table) => Uint32Array.of(...table, 400)),
        sampling: GREEDY_TOP5,
        sampled: 1,
      }]);
      assert.notDeepEqual(full[0], results[0], "the shorter cache was used");
    },
  );
}
