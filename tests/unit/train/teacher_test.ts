import assert from "node:assert/strict";
import { LocalEngine } from "../../../lib/engine/local.ts";
import { startPreparer } from "../../../lib/image/preparer.ts";
import { openModel } from "../../../lib/model/directory.ts";
import { openText } from "../../../lib/text/processor.ts";
import { FrozenDecoder } from "../../../lib/train/decoder.ts";
import { Teacher } from "../../../lib/train/teacher.ts";
import { WasmBackend } from "../../../lib/wasm/backend.ts";
import { assertClose } from "../../support/compare.ts";
import { NO_KERNELS } from "../../support/wasm.ts";

const path = (name: string) => new URL(`../../../deploy/${name}`, import.meta.url).pathname;
const picture = (number: number) => path(`eval-set/images/image-00${number}.png`);

Deno.test({
  name: "a Teacher's lessons hold what its answers were read from: over the whole cache they come out again",
  // A worker that prepares pictures ends a moment after it is told to.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const model = { ...await openModel(path("model")), compressors: [] };
    const backend = await WasmBackend.create({ threads: 1, weightBytes: 1 << 25, examine: NO_KERNELS });
    const engine = new LocalEngine(backend, model, {
      kvDtype: "f32",
      kvBytes: null,
      maxNumSeqs: 1,
      maxModelLen: null,
    });
    const images = startPreparer(model.images!);
    const text = await openText(model.dir, model.config);
    const teacher = new Teacher({ engine, config: model.config, text, images });
    const ask = (texts: string[], ...pictures: number[]) =>
      teacher.lessons(texts.map((text) => ({ images: pictures.map(picture), text })));
    const one = await ask(["what colour is the small triangle?", "describe the picture"], 1);
    const two = await ask(["which image has the most objects?"], 1, 2);
    const none = await ask(["hello"]);
    assert.deepEqual([one, two, none].map((lessons) => lessons.map(({ samples }) => samples.length)), [[2], [
      1,
    ], [1]]);
    assert.equal(two[0].prefix!.images.length, 2);
    assert.equal(none[0].prefix, null);

    const decoder = new FrozenDecoder(backend, model.config.text, model.names, model.source);
    for (const { prefix, samples } of [...one, ...two, ...none]) {
      for (const { tail, tokens, position, hidden } of samples) {
        assert.equal(position, (prefix?.slots ?? 0) + tail.slots);
        const caches = [...(prefix === null ? [] : [prefix]), tail];
        const pass = await decoder.forward([{ tokens, position, caches: [...caches.keys()] }], caches);
        for (const [layer, state] of pass.hidden.entries()) {
          assertClose(state, hidden[layer], "reduce", `layer ${layer}`);
        }
        // The answer is greedy: each row's best token is the one that follows.
        const { vocab } = model.config.text;
        for (let row = 0; row + 1 < tokens.length; row++) {
          const logits = pass.logits.subarray(row * vocab, (row + 1) * vocab);
          assert.equal(logits.indexOf(Math.max(...logits)), tokens[row + 1], `row ${row}`);
        }
      }
    }
    await images.close();
    await engine.close();
  },
});
