import assert from "node:assert/strict";
import type { EncodeImage, Engine, SampledToken, SamplingParams } from "../../../lib/engine/engine.ts";
import { type EngineModel, LocalEngine } from "../../../lib/engine/local.ts";
import { openModel } from "../../../lib/model/directory.ts";
import type { KvDtype } from "../../../lib/ops/kv.ts";
import type { WasmOptions } from "../../../lib/wasm/backend.ts";
import { MEMORY_BEGIN } from "../../../lib/wasm/layout.ts";
import { createMemory } from "../../../lib/wasm/memory.ts";
import { Control } from "../../../lib/wasm/threads.ts";
import { Draw } from "../../support/cases.ts";
import { generate, GREEDY_TOP5, placeFeatures, plainPositions, takePages } from "../../support/generate.ts";
import { IMAGE_TOKEN, randomModel } from "../../support/random_model.ts";
import { withWasm } from "../../support/wasm.ts";

interface Subject {
  readonly name: string;
  readonly model: EngineModel;
  readonly imageToken: number;
  readonly promptTokens: readonly number[];
}

const loaded = await openModel(new URL("../../../deploy/model", import.meta.url).pathname);
const SUBJECTS: readonly Subject[] = [
  {
    name: "a random model",
    model: randomModel("f16"),
    imageToken: IMAGE_TOKEN,
    promptTokens: [3, 40, 17, 1],
  },
  {
    name: "the default model",
    model: loaded,
    imageToken: loaded.config.imageTokenId!,
    promptTokens: [5, 23, 9, 1],
  },
];

const CONFIGURATIONS: readonly (readonly [name: string, kvDtype: KvDtype, options: Partial<WasmOptions>])[] =
  [
    ["stored weights and f16 pages", "f16", {}],
    ["stored weights and f32 pages", "f32", {}],
    ["int8 dot and f16 pages", "f16", { quantise: "int8", family: "dot" }],
  ];

/** Log-probabilities of the whole vocabulary: every logit shows in them. */
function everyLogit(engine: Engine): SamplingParams {
  return { ...GREEDY_TOP5, logprobs: engine.facts.vocabSize };
}

/** Everything that this test compares, from one engine. */
class Run {
  readonly #engine: LocalEngine;
  readonly #sampling: SamplingParams;

  constructor(engine: LocalEngine, readonly subject: Subject) {
    this.#engine = engine;
    this.#sampling = everyLogit(engine);
  }

  async encode(images: number): Promise<void> {
    const { imageSize, imageTokens } = this.subject.model.config.vision!;
    await this.#engine.encode(Array.from({ length: images }, (_, i): EncodeImage => ({
      pixels: new Draw(i).normal(3 * imageSize ** 2),
      height: imageSize,
      width: imageSize,
      embeddingRow: i * imageTokens,
      embeddingRows: imageTokens,
    })));
  }

  /** 16 prompts of different lengths; two have a picture. */
  prompts(): Uint32Array[] {
    const { imageTokens } = this.subject.model.config.vision!;
    const draw = new Draw(5), { imageToken } = this.subject;
    const text = (length: number) =>
      Uint32Array.from(draw.integers(length, 200), (id) => id === imageToken ? 0 : id);
    return Array.from({ length: 16 }, (_, i) => {
      const words = text(this.subject.promptTokens[i % 4] + i);
      if (i !== 2 && i !== 9) return words;
      const picture = new Array<number>(imageTokens).fill(imageToken);
      return placeFeatures([1, ...picture, ...words], imageToken, i === 2 ? 0 : imageTokens);
    });
  }

  /** The first tokens of each prompt, in batches of `size`. */
  async batches(prompts: readonly Uint32Array[], size: number): Promise<SampledToken[][]> {
    const out: SampledToken[][] = [];
    for (let first = 0; first < prompts.length; first += size) {
      out.push(...await generate(this.#engine, prompts.slice(first, first + size), 2, this.#sampling));
    }
    return out;
  }

  /** The first token of a prompt that is read in parts. */
  async chunked(prompt: Uint32Array, sizes: readonly number[]): Promise<SampledToken | null> {
    const tables = takePages(this.#engine, { page: 0 }, prompt.length);
    let first = 0, last: SampledToken | "not_finite" | null = null;
    for (const size of [...sizes, prompt.length]) {
      const tokens = prompt.slice(first, first + size);
      [last] = await this.#engine.forward([{
        tokens,
        positions: plainPositions(first, tokens.length),
        slotBase: new Uint32Array(this.#engine.facts.layers).fill(first),
        pageTables: tables,
        sampling: first + size >= prompt.length ? this.#sampling : null,
        sampled: 0,
      }]);
      first += tokens.length;
    }
    assert.notEqual(last, "not_finite");
    return last as SampledToken;
  }
}

async function withRun<Result>(
  subject: Subject,
  kvDtype: KvDtype,
  options: Partial<WasmOptions>,
  use: (run: Run) => Promise<Result>,
): Promise<Result> {
  return await withWasm({ weightBytes: 1 << 24, ...options }, async (backend) => {
    const sizing = { kvDtype, kvBytes: 1 << 25, maxNumSeqs: 16, maxModelLen: null };
    return await use(new Run(new LocalEngine(backend, subject.model, sizing), subject));
  });
}

for (const subject of SUBJECTS) {
  for (const [name, kvDtype, options] of CONFIGURATIONS) {
    Deno.test(`${subject.name} has the same logits with 1, 2 and 3 threads, in any batch, whole and in chunks: ${name}`, async () => {
      const expected = await withRun(subject, kvDtype, { ...options, threads: 1 }, async (run) => {
        await run.encode(1);
        await run.encode(2);
        return await run.batches(run.prompts(), 1);
      });
      assert.ok(new Set(expected.map(([token]) => token.logprob)).size > 10, "prompts differ");
      for (const threads of [1, 2, 3]) {
        await withRun(subject, kvDtype, { ...options, threads }, async (run) => {
          const prompts = run.prompts();
          await run.encode(2);
          for (const size of threads === 1 ? [2, 4, 7, 16] : [1, 4, 7, 16]) {
            assert.deepEqual(
              await run.batches(prompts, size),
              expected,
              `${threads} threads, batches of ${size}`,
            );
          }
          for (const [index, sizes] of [[9, [1, 6, 20]], [13, [5, 1]]] as const) {
            assert.deepEqual(
              await run.chunked(prompts[index], sizes),
              expected[index][0],
              `${threads} threads, prompt ${index} in chunks`,
            );
          }
        });
      }
    });
  }
}

/** Embeds one row a thread; a token id far beyond the table is outside of every memory. */
async function embedRows(threads: number, bad: number | null): Promise<{ first: string; then: number[] }> {
  return await withWasm({ threads }, async (backend) => {
    const table = backend.createMatrix(8, 4, "f32");
    backend.writeMatrix(table, 0, new Uint8Array(Float32Array.from({ length: 32 }, (_, i) => i).buffer));
    const embed = async (wrong: number | null) => {
      const step = backend.begin();
      const ids = Uint32Array.from({ length: threads }, (_, i) => i === wrong ? 1 << 30 : i);
      const out = step.tensor(threads, 4);
      step.embed({ table, features: null, tokens: step.indices(ids), out });
      return [...new Float32Array((await step.finish([out]))[0])];
    };
    const first = await embed(bad).then(() => "resolved", (error: Error) => error.message);
    const then = await embed(null);
    return { first, then };
  });
}

Deno.test("a thread that fails fails the step, holds up nobody, and the next step runs", async () => {
  for (const bad of [0, 1, 2]) {
    const { first, then } = await embedRows(3, bad);
    assert.match(first, /^(?!resolved)/);
    assert.deepEqual(then, Array.from({ length: 12 }, (_, i) => i));
  }
  assert.equal((await embedRows(3, null)).first, "resolved");
});

Deno.test("a step behind sleeping helpers runs as one behind spinning helpers does", async () => {
  await withWasm({ threads: 3 }, async (backend) => {
    const ones = new Float32Array(3 * 4).fill(2);
    for (const pauseMs of [0, 50, 0, 50]) {
      // Blocks this thread for much longer than helpers spin.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
      const step = backend.begin(), out = step.tensor(3, 4);
      const o = { x: step.upload(3, 4, ones), weight: step.upload(1, 4, ones.subarray(0, 4)), eps: 0, out };
      step.rmsNorm(o);
      assert.deepEqual([...new Float32Array((await step.finish([out]))[0])], new Array(12).fill(2));
    }
  });
});

/** Two threads of one step on memory of their own, and the parts that each runs. */
function twoThreads(): { main: Control; helper: Control; counters: number } {
  const memory = createMemory(1 << 20);
  return { main: new Control(memory, 0, 2), helper: new Control(memory, 1, 2), counters: MEMORY_BEGIN / 4 };
}

Deno.test("a step ends without a thread that does not run, and that thread then passes what was done", () => {
  const { main, helper, counters } = twoThreads();
  const epoch = main.begin(1000, 7, counters);
  const ran: number[] = [];
  for (const operation of [0, 1]) main.share(operation, 5, (part) => ran.push(part));
  assert.deepEqual(ran, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
  assert.deepEqual(helper.next(0), { epoch, tape: 1000, length: 7 });
  assert.ok(main.isRead(epoch), "its tape may not be written");
  for (const operation of [0, 1]) helper.share(operation, 5, () => assert.fail("nothing is left"));
  helper.leave();
  assert.ok(!main.isRead(epoch));
});

Deno.test("a thread runs its own parts first, then those that others have not begun", () => {
  const { main, helper, counters } = twoThreads();
  main.begin(1000, 7, counters);
  helper.next(0);
  const ran: number[] = [];
  helper.share(0, 6, (part) => ran.push(part));
  assert.deepEqual(ran, [3, 4, 5, 0, 1, 2]);
  main.share(0, 6, () => assert.fail("nothing is left"));
});
