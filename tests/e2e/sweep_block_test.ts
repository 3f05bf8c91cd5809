/** A block of a sweep on the embedded model, where nothing ends an answer. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Block } from "../../lib/cli/sweep/block.ts";
import { compressionOf } from "../../lib/cli/sweep/cells.ts";
import { startEngine } from "../../lib/engine/client.ts";

const ANSWER_TOKENS = 96;

Deno.test("a block gives an answer up where its pages end, however long the right one is", async () => {
  const engine = await startEngine({
    modelDir: fileURLToPath(new URL("../../deploy/model", import.meta.url)),
    ...{ loadFormat: "auto", backend: "wasm", threads: 1, weights: "stored" },
    ...{ kvDtype: "f16", kvBytes: 16 * 1024 ** 2, maxNumSeqs: 1, maxModelLen: null, imageCacheBytes: 0 },
  });
  try {
    const question = { id: "1", images: [], question: "", answer: "", type: "exist" };
    const tokens = Uint32Array.from({ length: 16 }, (_, i) => 100 + i);
    const asked = [{ question, tokens, images: [], answerTokensMax: 2 * ANSWER_TOKENS }];
    const block = new Block(engine, asked, null, []);
    const [whole] = await block.wholeAnswers();
    const streaming = {
      method: "streaming",
      settings: {},
      quantize: null,
      factor: 2,
      slots: "share",
    } as const;
    const [[short]] = await block.answers([(prompt) => compressionOf(streaming, prompt, [])], 0);
    assert.deepEqual([whole.ids.length, short.ids.length], [ANSWER_TOKENS, ANSWER_TOKENS]);
    assert.deepEqual([whole.slots, short.slots], [16, 8]);
  } finally {
    await engine.close();
  }
});
