import assert from "node:assert/strict";
import { StartError } from "../../../lib/core/errors.ts";
import { uniformFactors } from "../../../lib/model/compressor.ts";
import { openCompressor } from "../../../lib/model/compressor_file.ts";
import { resumeCheckpoint, saveCheckpoint, writeCompressor } from "../../../lib/train/checkpoint.ts";
import { FrozenDecoder } from "../../../lib/train/decoder.ts";
import type { Lesson } from "../../../lib/train/lesson.ts";
import type { Span } from "../../../lib/train/span.ts";
import { RECIPE, Trainer } from "../../../lib/train/trainer.ts";
import { ReferenceBackend } from "../../reference/backend.ts";
import { Draw } from "../../support/cases.ts";
import { withFolder } from "../../support/model_files.ts";
import { randomModel } from "../../support/random_model.ts";

const model = randomModel("f32");
const { text } = model.config;
const decoder = new FrozenDecoder(new ReferenceBackend(), text, model.names, model.source);

function randomSpan(draw: Draw, slots: number, images: Span["images"]): Span {
  const fill = () =>
    Array.from({ length: text.layers }, () => draw.normal(slots * text.kvHeads * text.headDim));
  return { slots, keys: fill(), values: fill(), images };
}

/** Lessons whose teacher is the model over the whole of random caches. */
async function lessons(): Promise<Lesson[]> {
  const draw = new Draw(1);
  const list: Lesson[] = [];
  for (const tokens of [[5, 6, 7], [8]]) {
    const prefix = randomSpan(draw, 14, [{ first: 2, count: 12 }]), tail = randomSpan(draw, 6, []);
    const item = { tokens: Uint32Array.from(tokens), position: 20, caches: [0, 1] };
    const { hidden } = await decoder.forward([item], [prefix, tail]);
    list.push({ prefix, samples: [{ tail, position: 20, tokens: item.tokens, hidden }] });
  }
  return list;
}

const FACTS = { factor: 2, minGroups: 2, factors: uniformFactors(2, text.layers) };
const RUN = { factor: 2, steps: 40, seed: 3, factors: FACTS.factors };
const recipe = { ...RECIPE, steps: RUN.steps, seed: RUN.seed };

Deno.test("Trainer brings answers over short caches towards the teacher's", async () => {
  const taught = await lessons(), trainer = new Trainer(decoder, FACTS, recipe, taught);
  const before = await trainer.measure(taught);
  while (trainer.adam.steps < RUN.steps) await trainer.step();
  const after = await trainer.measure(taught);
  assert(after.divergence < 0.5 * before.divergence, `${before.divergence} became ${after.divergence}`);
  assert(after.distance < 0.7 * before.distance, `${before.distance} became ${after.distance}`);
});

Deno.test("a run that was cut short goes on as if it had not been", async () => {
  const taught = await lessons();
  const whole = new Trainer(decoder, FACTS, recipe, taught);
  for (let i = 0; i < 6; i++) await whole.step();
  await withFolder({}, async (dir) => {
    const path = `${dir}/checkpoint`, first = new Trainer(decoder, FACTS, recipe, taught);
    assert.equal(resumeCheckpoint(path, first, RUN), false);
    for (let i = 0; i < 3; i++) await first.step();
    await saveCheckpoint(path, first, RUN);
    const second = new Trainer(decoder, FACTS, recipe, taught);
    assert.equal(resumeCheckpoint(path, second, RUN), true);
    for (let i = 0; i < 3; i++) await second.step();
    for (const [i, { name, values }] of whole.compressor.parameters.entries()) {
      assert.deepEqual(second.compressor.parameters[i].values, values, name);
    }
    assert.throws(() => resumeCheckpoint(path, second, { ...RUN, seed: 4 }), StartError);
    const factors = { ...RUN.factors, image: RUN.factors.image.with(0, 1) };
    assert.throws(() => resumeCheckpoint(path, second, { ...RUN, factors }), StartError);
  });
});

Deno.test("writeCompressor adds a factor to a file and replaces its own", async () => {
  const taught = await lessons();
  const two = new Trainer(decoder, FACTS, recipe, taught);
  const three = new Trainer(
    decoder,
    { ...FACTS, factor: 3, factors: uniformFactors(3, text.layers) },
    recipe,
    taught,
  );
  await withFolder({}, async (dir) => {
    const path = `${dir}/c.safetensors`;
    await writeCompressor(path, three);
    await writeCompressor(path, two);
    await two.step();
    await writeCompressor(path, two);
    const found = openCompressor(path, text)!;
    assert.deepEqual(found.map(({ factor }) => factor), [2, 3]);
    const { name, values } = two.compressor.parameters[0];
    const stored = new Float16Array(found[0].tensors.get(name)!.read(0, 2 * values.length).buffer);
    assert.deepEqual([...stored], [...values].map(Math.f16round));
  });
});
