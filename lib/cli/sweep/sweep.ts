/**
 * `eval --sweep`: right answers by compression method, kept share and kind of question, beside the whole cache.
 *
 * The engine alone answers, without scheduler and HTTP: every prompt is prefilled once for all methods that need the same kept of it,
 * which compress copies. As in a server the first token is sampled before the cache is compressed, and answers are greedy. Results
 * are written after each such pass, and a sweep that is started again goes on behind them.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../core/clock.ts";
import { StartError } from "../../core/errors.ts";
import type { PromptShape } from "../../engine/compress/method.ts";
import { needOf } from "../../engine/compress/mod.ts";
import type { Need } from "../../engine/compress/need.ts";
import type { LearnedFacts } from "../../engine/compress/segments.ts";
import { startEngine } from "../../engine/client.ts";
import type { Engine } from "../../engine/engine.ts";
import { type LoadedModel, openModel } from "../../model/directory.ts";
import { openText } from "../../text/processor.ts";
import type { TextProcessor } from "../../text/text.ts";
import { chooseDevice } from "../device.ts";
import { judge } from "../score.ts";
import { type Asked, encodePictures, promptOf, questionsOf } from "./asked.ts";
import { Bar } from "./bar.ts";
import { type Answered, Block, blockEnd } from "./block.ts";
import { type Cell, cellsOfSweep, compressionOf, FULL } from "./cells.ts";
import type { SweepValues } from "./flags.ts";
import { sweepPage } from "./page.ts";
import { SweepResults } from "./results.ts";
import { emptyTally, type SweepRow, type Tally } from "./tally.ts";
import { noteWeights, weightsOf } from "./weights.ts";

const DEFAULT_MODEL_DIR = fileURLToPath(new URL("../../../deploy/model", import.meta.url));
const DEFAULT_SET = fileURLToPath(new URL("../../../deploy/eval-set", import.meta.url));

/** Whole caches of a block, what is kept of them, and copies. */
const POOL_BYTES = 768 * 1024 ** 2;
/** Cells whose results are written together: what is lost at most when a sweep is stopped. */
const PASS_CELLS_MAX = 16;

/** Cells that need the same kept of a prompt. */
interface Pass {
  readonly need: Need | null;
  readonly cells: readonly Cell[];
}

export async function sweep(options: SweepValues, say: (line: string) => void): Promise<void> {
  const found = await questionsOf(options.set.length === 0 ? [DEFAULT_SET] : options.set, options.questions);
  const results = openResults(options.out, found.length);
  const model = await openModel(options.model ?? DEFAULT_MODEL_DIR);
  if (model.images === null || model.config.vision === null || model.config.imageTokenId === null) {
    throw new StartError("a sweep asks about pictures: this model takes none");
  }
  await noteWeights(options.out, await weightsOf(model.dir, options.compressor));
  const { imageTokens } = model.config.vision;
  const files = [...new Set(found.flatMap(({ pictures }) => pictures))];
  const engine = await startEngine({
    modelDir: model.dir,
    loadFormat: "auto",
    compressor: options.compressor,
    ...await chooseDevice(options, say),
    kvDtype: options.kvCacheDtype,
    kvBytes: POOL_BYTES,
    maxNumSeqs: 1,
    maxModelLen: null,
    imageCacheBytes: files.length * imageTokens * model.config.text.hidden * 4,
  });
  const bar = new Bar("pictures", files.length, systemClock);
  try {
    const text = await openText(model.dir, model.config);
    const rowOf = await encodePictures(engine, files, model.images, imageTokens, (done) => bar.show(done));
    const asked = found.map((one) => promptOf(one, text, model.config.imageTokenId!, imageTokens, rowOf));
    await sweepCells(engine, model, text, asked, results);
  } finally {
    bar.end();
    await engine.close();
  }
  const page = sweepPage(results.rows);
  await Deno.writeTextFile(join(options.out, "sweep.md"), page);
  say(`${page}\nwritten to ${options.out}: sweep.md, sweep.csv`);
}

/** Throws StartError for results of other questions, which would not compare. */
function openResults(folder: string, questions: number): SweepResults {
  try {
    Deno.mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new StartError(`cannot write ${folder}: ${error instanceof Error ? error.message : error}`);
  }
  const path = join(folder, "sweep.csv"), results = new SweepResults(path);
  if (results.questions !== null && results.questions !== questions) {
    throw new StartError(
      `${path} has results of ${results.questions} questions, and these are ${questions}: take another --out`,
    );
  }
  return results;
}

/** What is not in the results yet, the whole cache first. */
function passesOf(results: SweepResults, compressors: readonly LearnedFacts[]): Pass[] {
  const left = [FULL, ...cellsOfSweep(compressors)].filter((cell) => !results.has(cell));
  const one = { slots: Uint32Array.of(PASS_CELLS_MAX), images: [] };
  const groups = Map.groupBy(
    left,
    (cell) => JSON.stringify(cell === FULL ? null : needOf(compressionOf(cell, one, compressors))),
  );
  return [...groups].flatMap(([need, cells]) =>
    Array.from({ length: Math.ceil(cells.length / PASS_CELLS_MAX) }, (_, i): Pass => ({
      need: JSON.parse(need) as Need | null,
      cells: cells.slice(i * PASS_CELLS_MAX, (i + 1) * PASS_CELLS_MAX),
    }))
  );
}

async function sweepCells(
  engine: Engine,
  model: LoadedModel,
  text: TextProcessor,
  asked: readonly Asked[],
  results: SweepResults,
): Promise<void> {
  const passes = passesOf(results, engine.facts.compressors);
  const bar = new Bar(
    "answers",
    asked.length * passes.reduce((sum, { cells }) => sum + cells.length, 0),
    systemClock,
  );
  let done = 0;
  for (const { need, cells } of passes) {
    const counts = cells.map(() => new Map<string, Tally>());
    for (let first = 0; first < asked.length;) {
      const end = blockEnd(asked, first, need, cells.length, engine.facts), part = asked.slice(first, end);
      if (part.length === 0) throw new StartError("a prompt of this set is longer than the pool of a sweep");
      const block = new Block(engine, part, need, model.config.eosTokenIds);
      const whole = await block.wholeAnswers();
      const methods = cells.filter((cell) => cell !== FULL).map((cell) => (prompt: PromptShape) =>
        compressionOf(cell, prompt, engine.facts.compressors)
      );
      const answers = await block.answers(methods, first);
      if (cells[0] === FULL) answers.unshift(whole);
      for (const [at, own] of answers.entries()) count(counts[at], text, part, whole, own);
      done += cells.length * part.length;
      bar.show(done);
      first = end;
    }
    results.append(
      cells.flatMap((cell, at) => [...counts[at]].map(([type, tally]): SweepRow => ({ cell, type, tally }))),
    );
  }
  bar.end();
}

/** Adds the answers of one block to the counts of their kinds. */
function count(
  tallies: Map<string, Tally>,
  text: TextProcessor,
  asked: readonly Asked[],
  whole: readonly Answered[],
  answers: readonly Answered[],
): void {
  for (const [i, { question }] of asked.entries()) {
    const said = text.decode(answers[i].ids), fullSaid = text.decode(whole[i].ids);
    const right = judge(question, said).correct, fullRight = judge(question, fullSaid).correct;
    const tally = tallies.getOrInsertComputed(question.type, emptyTally);
    tally.questions++;
    tally.right += Number(right);
    tally.fullRight += Number(fullRight);
    tally.onlyFull += Number(fullRight && !right);
    tally.onlyCell += Number(right && !fullRight);
    tally.sameText += Number(said === fullSaid);
    tally.promptSlots += whole[i].slots;
    tally.storedSlots += answers[i].slots;
    tally.promptBytes += whole[i].bytes;
    tally.storedBytes += answers[i].bytes;
  }
}
