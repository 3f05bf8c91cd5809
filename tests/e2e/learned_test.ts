/** The learned compression through the API: both endpoints, pictures anywhere, what was not trained, and files of both formats. */
import assert from "node:assert/strict";
import { UsageError } from "../../lib/core/errors.ts";
import type { ImageSpan } from "../../lib/engine/compress/method.ts";
import { keptByLearned, layerFacts, type LearnedFacts } from "../../lib/engine/compress/segments.ts";
import { openModel } from "../../lib/model/directory.ts";
import { binaryCompressor, compressorsFile } from "../support/compressor_files.ts";
import { randomCompressor } from "../support/compressors.ts";
import { Draw } from "../support/cases.ts";
import { withFolder } from "../support/model_files.ts";
import { pictureQuestion } from "../support/question.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { testServer } from "../support/server_test.ts";

interface Answer {
  readonly status: number;
  readonly body: {
    readonly choices: readonly { readonly message?: { readonly content: string }; readonly text?: string }[];
    readonly usage: {
      readonly prompt_tokens: number;
      readonly kv_compression?: {
        readonly method: string;
        readonly kept_tokens: number;
        readonly bytes_before: number;
        readonly bytes_after: number;
      };
    };
    readonly error: { readonly message: string; readonly param: string };
  };
}

async function post(server: TestServer, path: string, body: unknown): Promise<Answer> {
  const response = await fetch(`${server.url}/v1/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: await response.json() };
}

const LEARNED = { method: "learned", ratio: 0.8 };
/** Features of one picture of the default model. */
const PICTURE = 64;

/** What the default model's compressor says of itself at factor 5. */
const { config: { text: { layers, headDim } }, compressors } = await openModel(
  new URL("../../deploy/model", import.meta.url).pathname,
);
const FIVE = compressors.find(({ factor }) => factor === 5)!;

/** Slots that remain of a prompt, or of one picture, on average over the layers. */
function keptBy(
  facts: LearnedFacts,
  slots: number,
  images: readonly ImageSpan[] = [{ first: 0, count: slots }],
): number {
  const kept = Array.from(
    { length: layers },
    (_, layer) => keptByLearned(slots, images, layerFacts(facts, layer)),
  );
  return kept.reduce((sum, count) => sum + count, 0) / layers;
}

/** Two pictures with text before, between and behind them. */
function twoPictures() {
  const [first, second] = [0, 1].map((index) => pictureQuestion(index).messages[0].content[0]);
  const text = (text: string) => ({ type: "text" as const, text });
  const content = [
    ...[text("This is the first picture of the two that I have here:"), first],
    ...[text("and this is the second one, which is not the same:"), second, text("describe the picture")],
  ];
  return { messages: [{ role: "user", content }], temperature: 0, max_tokens: 24 };
}

testServer(
  "learned compression of a chat shortens every picture and every stretch of text",
  async (start) => {
    const server = await start({});
    try {
      const chat = (kv_compression: unknown) =>
        post(server, "chat/completions", { ...twoPictures(), kv_compression });
      const { status, body } = await chat(LEARNED);
      assert.equal(status, 200, JSON.stringify(body));
      const { prompt_tokens: prompt, kv_compression: usage } = body.usage;
      assert.equal(usage?.method, "learned");
      // Each of three stretches of text keeps its share and a rest, or is too short and stays.
      const text = prompt - 2 * PICTURE, kept = usage.kept_tokens - 2 * keptBy(FIVE, PICTURE);
      const most = Math.max(...FIVE.factors.text);
      assert(kept >= text / most && kept < text, `${kept} of ${text} tokens of text`);
      const short = await chat("learned:0.8"), raw = await chat("none");
      assert.deepEqual(short.body.choices, body.choices);
      assert.equal(raw.body.usage.kv_compression, undefined);
      const crowd = await Promise.all(Array.from({ length: 6 }, () => chat(LEARNED)));
      for (const other of crowd) assert.deepEqual(other.body.choices, body.choices, "in a batch");
    } finally {
      await server.close();
    }
  },
);

testServer(
  "learned compression of token ids, and 400 naming the field of what was not trained",
  async (start) => {
    const server = await start({});
    try {
      const prompt = Array.from({ length: 52 }, (_, i) => 20 + i);
      const complete = (kv_compression: unknown) =>
        post(server, "completions", { prompt, temperature: 0, max_tokens: 8, kv_compression });
      const { status, body } = await complete(LEARNED);
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.usage.kv_compression?.kept_tokens, keptBy(FIVE, prompt.length, []));
      const refused = async (kv_compression: unknown) => {
        const { status, body: { error } } = await complete(kv_compression);
        return [status, error.param, error.message];
      };
      const untrained = await refused({ method: "learned", ratio: 0.75 });
      assert.deepEqual(untrained.slice(0, 2), [400, "kv_compression.ratio"]);
      assert.match(`${untrained[2]}`, /0\.8 \(5 to 1\)/);
      assert.deepEqual((await refused({ method: "learned", budget: 9 })).slice(0, 2), [
        ...[400, "kv_compression.budget"],
      ]);
      assert.deepEqual((await refused("learned:0.75")).slice(0, 2), [400, "kv_compression"]);
    } finally {
      await server.close();
    }
  },
);

testServer("learned compression by default, with weights of the binary format", async (start) => {
  const shape = { layers, headDim };
  const file = binaryCompressor(randomCompressor(new Draw(6), shape, { factor: 3, minGroups: 4 }), shape);
  await withFolder({ "c.bin": file }, async (dir) => {
    const compressor = `${dir}/c.bin`, size = { ratio: 1 - 1 / 3 };
    const kvCompress = {
      ...{ method: "learned", size, settings: {}, rerotate: false, quantise: null } as const,
      ...{ underPressure: false, adaptive: false, minTokens: 0, protect: [] },
    };
    // The shadow guard hands the default on: with what was trained for it.
    const server = await start({ compressor, kvCompress, shadowRate: 0.5 });
    try {
      const { body } = await post(server, "completions", {
        prompt: [5, ...new Array(31).fill(9)],
        max_tokens: 2,
      });
      assert.equal(body.usage.kv_compression?.kept_tokens, 10 + 2);
    } finally {
      await server.close();
    }
    await assert.rejects(
      startServer({ backend: "wasm", compressor, kvCompress: { ...kvCompress, size: { ratio: 0.8 } } }),
      (error) => error instanceof UsageError && /--kv-compress: .*0\.667 \(3 to 1\)/.test(error.message),
    );
  });
});

testServer(
  "learned compression by factors of layers and kinds stores what they say, alone and in a batch, on any number of threads",
  async (start) => {
    // No two layers alike, one of them raw, and pictures that are folded where text is not.
    const factors = { text: [2, 1, 4, 1, 3], image: [32, 7, 1, 1, 2] };
    const shape = { layers, headDim };
    const mixed = randomCompressor(new Draw(7), shape, { factor: 5, factors });
    const file = compressorsFile([mixed, randomCompressor(new Draw(8), shape, { factor: 2 })]);
    await withFolder({ "c.safetensors": file }, async (dir) => {
      const answers: Answer["body"]["choices"][] = [];
      for (const threads of [1, 2, 3]) {
        const server = await start({ compressor: `${dir}/c.safetensors`, threads });
        try {
          const chat = () => post(server, "chat/completions", { ...twoPictures(), kv_compression: LEARNED });
          const [first, ...crowd] = [await chat(), ...await Promise.all(Array.from({ length: 4 }, chat))];
          for (const { body } of crowd) assert.deepEqual(body.choices, first.body.choices, "in a batch");
          answers.push(first.body.choices);
          const { kept_tokens: kept } = first.body.usage.kv_compression!;
          const { body } = await post(server, "completions", {
            ...{ prompt: Array.from({ length: 52 }, (_, i) => 20 + i), max_tokens: 2 },
            kv_compression: LEARNED,
          });
          // Of 52 in each layer; the fifth makes 17 and a rest of one.
          const byLayer = [26, 52, 13, 52, 18], usage = body.usage.kv_compression!;
          assert.equal(usage.kept_tokens, byLayer.reduce((sum, count) => sum + count, 0) / layers);
          const pages = (slots: number) =>
            byLayer.reduce((sum, count) => sum + Math.ceil(count / slots), 0) / layers /
            Math.ceil(52 / slots);
          const memory = usage.bytes_after / usage.bytes_before;
          assert([8, 16].some((slots) => pages(slots) === memory), `each layer has its own pages: ${memory}`);
          const pictures = 2 * (2 + (9 + 1) + 64 + 64 + 32) / layers;
          assert(kept > pictures && kept < first.body.usage.prompt_tokens, `${kept} tokens are kept`);
        } finally {
          await server.close();
        }
      }
      for (const other of answers) assert.deepEqual(other, answers[0], "on any number of threads");
    });
  },
);
