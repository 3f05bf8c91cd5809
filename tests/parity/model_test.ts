/** Whole models against Hugging Face transformers: intermediates of one prompt, then every case's tokens and log-probabilities. */
import assert from "node:assert/strict";
import { LocalEngine } from "../../lib/engine/local.ts";
import type { EncodeImage, Engine } from "../../lib/engine/engine.ts";
import { decodePicture } from "../../lib/image/decode.ts";
import { preprocess } from "../../lib/image/preprocess/mod.ts";
import { type LoadedModel, openModel } from "../../lib/model/directory.ts";
import type { KvDtype } from "../../lib/ops/kv.ts";
import { testModel } from "../support/backends.ts";
import { nmse } from "../support/compare.ts";
import {
  type Fixture,
  fixtures,
  picturePaths,
  type ReferenceCase,
  unsupportedFixtures,
} from "../support/fixtures.ts";
import { readIntermediates } from "../support/intermediates.ts";
import { generate, placeFeatures, promptPart, takePages } from "../support/generate.ts";

/** Chosen ids must agree until the reference's two best logits are closer than this. */
const MARGIN = 0.05;
const LOGPROB_TOLERANCE: Record<KvDtype, number> = { f16: 2e-2, f32: 1e-3 };
const INTERMEDIATE_NMSE = 1e-8;

const SIZING = { kvBytes: 32 * 1024 ** 2, maxNumSeqs: 32, maxModelLen: null };

/** Encodes the pictures of all cases into consecutive rows and returns the prompts that point at them. */
async function place(
  engine: Engine,
  model: LoadedModel,
  fixture: Fixture,
  cases: readonly ReferenceCase[],
): Promise<Uint32Array[]> {
  const images: EncodeImage[] = [];
  const prompts: Uint32Array[] = [];
  let row = 0;
  for (const one of cases) {
    const { imageTokenId, vision } = model.config;
    prompts.push(placeFeatures(one.expected.prompt_token_ids, imageTokenId, row));
    for (const path of picturePaths(one.messages)) {
      const prepared = preprocess(
        await decodePicture(Deno.readFileSync(`${fixture.dir}/${path}`)),
        model.images!,
      );
      images.push({ ...prepared, embeddingRow: row, embeddingRows: vision!.imageTokens });
      row += vision!.imageTokens;
    }
  }
  if (images.length > 0) await engine.encode(images);
  return prompts;
}

for (const name of unsupportedFixtures()) {
  Deno.test({ name: `${name} (skipped: its family is not served yet)`, ignore: true, fn() {} });
}

for (const fixture of fixtures()) {
  testModel(`${fixture.name}: intermediates of the first prompt equal the reference's`, async (backend) => {
    const model = await openModel(fixture.dir);
    const engine = new LocalEngine(backend, model, { ...SIZING, kvDtype: "f32" });
    const expected = readIntermediates(fixture);
    const pixels = expected.get("pixel_values");
    const { vision, imageTokenId } = model.config;
    const size = vision?.imageSize ?? 0;
    const image = pixels === undefined
      ? null
      : { pixels, height: size, width: size, embeddingRow: 0, embeddingRows: vision!.imageTokens };
    const tokens = placeFeatures(fixture.cases[0].expected.prompt_token_ids, imageTokenId, 0);
    const found = await engine.observe(
      image,
      promptPart(engine, tokens, takePages(engine, { page: 0 }, tokens.length)),
    );
    let compared = 0;
    for (const [name, values] of found) {
      const reference = expected.get(name);
      if (reference === undefined) continue;
      assert.equal(values.length, reference.length, name);
      assert(nmse(values, reference) <= INTERMEDIATE_NMSE, `${name}: NMSE ${nmse(values, reference)}`);
      compared++;
    }
    // Every layer of the text model, its ends, and what a tower adds.
    assert(compared >= model.config.text.layers + 3 + (pixels === undefined ? 0 : 4), `${compared} compared`);
    await engine.close();
  });

  for (const kvDtype of ["f32", "f16"] as const) {
    testModel(
      `${fixture.name}: all cases in one batch, ${kvDtype} KV, give the reference's tokens`,
      async (backend) => {
        const model = await openModel(fixture.dir);
        const engine = new LocalEngine(backend, model, { ...SIZING, kvDtype });
        const { cases } = fixture;
        const prompts = await place(engine, model, fixture, cases);
        const results = await generate(engine, prompts, cases[0].expected.generated_token_ids.length);
        for (const [index, { id, expected }] of cases.entries()) {
          for (const [position, token] of results[index].entries()) {
            const reference = expected.logprobs[position];
            const difference = Math.max(
              ...reference.top.map(([, logprob], rank) => Math.abs(token.top[rank].logprob - logprob)),
            );
            assert(
              difference <= LOGPROB_TOLERANCE[kvDtype],
              `${id} at ${position}: log-probabilities differ by ${difference}`,
            );
            if (token.id !== reference.token_id) {
              assert(
                reference.margin < MARGIN,
                `${id} at ${position}: ${token.id} instead of ${reference.token_id}`,
              );
              break;
            }
          }
        }
        await engine.close();
      },
    );
  }
}
