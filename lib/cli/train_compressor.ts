/** `train-compressor`: trains the learned compressor of a model on pictures and questions, with the model as its own teacher. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../core/clock.ts";
import { StartError, UsageError } from "../core/errors.ts";
import { openBackend } from "../engine/device.ts";
import { LocalEngine } from "../engine/local.ts";
import { startPreparer } from "../image/preparer.ts";
import { MIN_GROUPS_DEFAULT, type SpanFactors, uniformFactors, whyOutOfReach } from "../model/compressor.ts";
import { COMPRESSOR_FILE, type LoadedModel, openModel } from "../model/directory.ts";
import { openText } from "../text/processor.ts";
import { resumeCheckpoint, saveCheckpoint, writeCompressor } from "../train/checkpoint.ts";
import { type Question, readCorpus } from "../train/corpus.ts";
import { FROZEN_COPIES, FrozenDecoder } from "../train/decoder.ts";
import type { Lesson } from "../train/lesson.ts";
import { Teacher } from "../train/teacher.ts";
import { type Progress, RECIPE, Trainer } from "../train/trainer.ts";
import { chooseDevice } from "./device.ts";
import type { TrainValues } from "./flags.ts";

const DEFAULT_MODEL_DIR = fileURLToPath(new URL("../../deploy/model", import.meta.url));
/** Every so many lessons one is held out, to measure with. */
const HELD_OUT_EVERY = 20;
const HELD_OUT_MAX = 8;
/** Steps between lines, and between checkpoints. */
const REPORT_STEPS = 50;

/** Throws StartError for what the user can mend. */
export async function trainCompressor(options: TrainValues, say: (line: string) => void): Promise<void> {
  const dir = options.model ?? DEFAULT_MODEL_DIR;
  const out = options.out ?? join(dir, COMPRESSOR_FILE);
  const questions = (await readCorpus(options.images, options.prompts)).slice(0, options.samples);
  // A compressor that is there already is not what answers here.
  const model = { ...await openModel(dir), compressors: [] };
  checkFactors(options, model.config.text.layers);
  const sizing = { kvDtype: "f32", kvBytes: null, maxNumSeqs: 1, maxModelLen: null } as const;
  const device = await chooseDevice({ ...options, dtype: "stored" }, say);
  const backend = await openBackend({ ...device, ...sizing }, model, FROZEN_COPIES + 1);
  const engine = new LocalEngine(backend, model, sizing);
  try {
    const decoder = new FrozenDecoder(backend, model.config.text, model.names, model.source);
    const lessons = await listen(engine, model, questions, say);
    const held = lessons.filter((_, i) => i % HELD_OUT_EVERY === HELD_OUT_EVERY - 1).slice(0, HELD_OUT_MAX);
    const taught = lessons.filter((lesson) => !held.includes(lesson));
    if (taught.length === 0) throw new StartError("no question had an answer to learn from");
    for (const factor of options.factor) await train(decoder, factor, taught, held, out, options, say);
  } finally {
    await engine.close();
  }
}

/** Throws UsageError unless factors by layer are one a layer, for one factor, and shorten something. */
function checkFactors({ factor, textFactors, imageFactors }: TrainValues, layers: number): void {
  for (const [flag, own] of [["--text-factors", textFactors], ["--image-factors", imageFactors]] as const) {
    if (own.length === 0) continue;
    if (own.length !== layers) {
      throw new UsageError(`${flag} has ${own.length} numbers, this model ${layers} layers`);
    }
    if (factor.length > 1) throw new UsageError(`${flag} goes with one --factor`);
  }
  const raw = [textFactors, imageFactors].every((own) => own.length > 0 && own.every((one) => one === 1));
  if (raw) throw new UsageError("--text-factors and --image-factors leave everything as it is");
  for (const one of factor) {
    const why = whyOutOfReach(one, factorsOf(one, textFactors, imageFactors, layers));
    if (why !== null) throw new UsageError(`--factor ${one} is out of reach: ${why}`);
  }
}

/** Those that are given by layer, and the one factor for the rest. */
function factorsOf(
  factor: number,
  textFactors: readonly number[],
  imageFactors: readonly number[],
  layers: number,
): SpanFactors {
  const uniform = uniformFactors(factor, layers);
  const given = (own: readonly number[], usual: readonly number[]) => own.length === 0 ? usual : own;
  return { text: given(textFactors, uniform.text), image: given(imageFactors, uniform.image) };
}

/** All lessons of a corpus, its questions about the same pictures together. */
async function listen(
  engine: LocalEngine,
  model: LoadedModel,
  questions: readonly Question[],
  say: (line: string) => void,
): Promise<Lesson[]> {
  if (model.images === null) {
    throw new StartError("this model takes no pictures: there is nothing to train on");
  }
  const begun = systemClock.now();
  const images = startPreparer(model.images);
  const text = await openText(model.dir, model.config);
  const teacher = new Teacher({ engine, config: model.config, text, images });
  const lessons: Lesson[] = [];
  try {
    const groups = [...Map.groupBy(questions, ({ images }) => images.join("\n")).values()];
    let asked = 0;
    for (const [i, group] of groups.entries()) {
      lessons.push(...await teacher.lessons(group));
      asked += group.length;
      if (i % 100 === 99 || i === groups.length - 1) {
        say(`teacher: ${asked} of ${questions.length} questions, ${seconds(systemClock.now() - begun)}`);
      }
    }
  } finally {
    await images.close();
  }
  return lessons;
}

async function train(
  decoder: FrozenDecoder,
  factor: number,
  taught: readonly Lesson[],
  held: readonly Lesson[],
  out: string,
  options: TrainValues,
  say: (line: string) => void,
): Promise<void> {
  const { steps, seed } = options;
  const factors = factorsOf(factor, options.textFactors, options.imageFactors, decoder.config.layers);
  const run = { factor, steps, seed, factors };
  const checkpoint = `${out}.factor-${factor}.checkpoint`;
  const facts = { factor, minGroups: MIN_GROUPS_DEFAULT, factors };
  const trainer = new Trainer(decoder, facts, { ...RECIPE, steps, seed }, taught);
  if (resumeCheckpoint(checkpoint, trainer, run)) {
    say(`factor ${factor}: goes on at step ${trainer.adam.steps}`);
  }
  const begun = systemClock.now(), first = trainer.adam.steps;
  let recent: Progress[] = [];
  while (trainer.adam.steps < steps) {
    recent.push(await trainer.step());
    const number = trainer.adam.steps;
    if (number % REPORT_STEPS !== 0 && number !== steps) continue;
    const pace = (systemClock.now() - begun) / (number - first);
    const shown = mean(recent), measured = held.length === 0 ? null : await trainer.measure(held);
    recent = [];
    say(
      `factor ${factor}: ${bar(number / steps)} ${number}/${steps}, ${describe(shown)}${
        measured === null ? "" : `; held out: ${describe(measured)}`
      }; ${seconds(pace)} a step, ${seconds((steps - number) * pace)} left`,
    );
    if (options.curves !== null) appendCurve(options.curves, factor, number, shown, measured);
    await saveCheckpoint(checkpoint, trainer, run);
  }
  await writeCompressor(out, trainer);
  await Deno.remove(checkpoint).catch(() => {});
  say(`factor ${factor}: written to ${out}`);
}

function mean(list: readonly Progress[]): Progress {
  const of = (key: keyof Progress) => list.reduce((sum, one) => sum + one[key], 0) / list.length;
  return { divergence: of("divergence"), distance: of("distance"), agreement: of("agreement") };
}

function describe({ divergence, distance, agreement }: Progress): string {
  return `output ${divergence.toFixed(4)}, hidden ${distance.toFixed(4)}, agreement ${
    (100 * agreement).toFixed(1)
  } %`;
}

function bar(part: number): string {
  const full = Math.round(20 * part);
  return `[${"#".repeat(full)}${".".repeat(20 - full)}]`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

const CURVE_HEADER = "factor,step,output,hidden,agreement,held_output,held_hidden,held_agreement\n";

/** One line of CSV; the header when the file begins. */
function appendCurve(
  path: string,
  factor: number,
  step: number,
  shown: Progress,
  held: Progress | null,
): void {
  const values = [shown, held].flatMap((one) =>
    one === null
      ? ["", "", ""]
      : [one.divergence, one.distance, one.agreement].map((value) => value.toFixed(5))
  );
  try {
    using file = Deno.openSync(path, { append: true, create: true, write: true });
    const header = file.statSync().size === 0 ? CURVE_HEADER : "";
    file.writeSync(new TextEncoder().encode(`${header}${[factor, step, ...values].join(",")}\n`));
  } catch (error) {
    throw new StartError(`cannot write ${path}: ${error instanceof Error ? error.message : error}`);
  }
}
