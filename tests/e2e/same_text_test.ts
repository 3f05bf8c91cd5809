/**
 * A request has the same answer whatever runs beside it and whatever has become of its cache meanwhile: the same tokens,
 * and bit for bit the same log-probabilities.
 */
import assert from "node:assert/strict";
import type { ServeValues } from "../../lib/cli/flags.ts";
import { withTrained } from "../../lib/engine/compress/learned.ts";
import { openModel } from "../../lib/model/directory.ts";
import type { Compression, GenerateRequest } from "../../scheduler/messages.ts";
import { pictureQuestion } from "../support/question.ts";
import { collect, requestOf } from "../support/scripted_service.ts";
import type { TestServer } from "../support/server.ts";
import { type Start, testServer } from "../support/server_test.ts";
import { compressionBy } from "../support/compressions.ts";

/** Requests of a crowd, each about a picture of its own. */
const CROWD = 8;
/**
 * A prompt has about 90 tokens and the answer 120: 14 pages in each of 5 layers, 8 KiB each, 560 KiB a request. The first
 * guess of an answer is 64 tokens, so this pool lets in more than it can hold to their end.
 */
const ANSWER_TOKENS = 120;
const SMALL_POOL_BYTES = 2 * 1024 ** 2;

interface Answer {
  readonly tokens: readonly { readonly id: number; readonly logprob: number | undefined }[];
  readonly cachedTokens: number;
}

/** Sampled at temperature 1, so that a small difference of the logits is soon seen in the tokens too. */
function requestAbout(index: number, compression: Compression | null): GenerateRequest {
  const [{ content: [image, text] }] = pictureQuestion(index).messages;
  assert(image.type === "image_url" && text.type === "text");
  const bytes = Uint8Array.fromBase64(image.image_url.url.split(",")[1]);
  return requestOf([{ type: "image", bytes, param: "messages" }, text], {
    maxTokens: ANSWER_TOKENS,
    compression,
    sampling: { temperature: 1, topP: 1, minP: 0, topK: 0, seed: [index, 0], logprobs: 1 },
  });
}

async function answer(server: TestServer, index: number, compression: Compression | null): Promise<Answer> {
  const request = requestAbout(index, compression);
  const events = await collect(server.scheduler.submit(request, new AbortController().signal));
  const end = events[events.length - 1];
  assert(end.type === "finished", `request ${index} ended: ${JSON.stringify(end)}`);
  const tokens = events.filter((event) => event.type === "token");
  assert.equal(tokens.length, ANSWER_TOKENS);
  return {
    tokens: tokens.map(({ id, logprob }) => ({ id, logprob: logprob?.logprob })),
    cachedTokens: end.cachedTokens,
  };
}

async function crowd(server: TestServer, compression: Compression | null): Promise<Answer[]> {
  return await Promise.all(Array.from({ length: CROWD }, (_, index) => answer(server, index, compression)));
}

async function serving<T>(
  start: Start,
  values: Partial<ServeValues>,
  run: (server: TestServer) => Promise<T>,
): Promise<T> {
  const server = await start(values);
  try {
    const result = await run(server);
    server.scheduler.checkIntegrity();
    assert.equal(server.scheduler.snapshot().pagesUsed, 0);
    return result;
  } finally {
    await server.close();
  }
}

function assertSame(answers: readonly Answer[], expected: readonly Answer[], when: string): void {
  for (const [index, { tokens }] of answers.entries()) {
    assert.deepEqual(tokens, expected[index].tokens, `request ${index} ${when}`);
  }
}

/** With what the default model's compressor says of itself. */
const { compressors } = await openModel(new URL("../../deploy/model", import.meta.url).pathname);
const trained = withTrained(compressionBy("learned", 0.8), compressors);
assert("compression" in trained);
const LEARNED: Compression = trained.compression;

const COMPRESSIONS: readonly (readonly [string, Compression | null])[] = [
  ["raw", null],
  ["compressed", compressionBy("knorm", 0.5)],
  ["folded", LEARNED],
  ["packed", compressionBy("streaming", 0.2, { quantise: { bits: 8, tail: "float" } })],
];

for (const [name, compression] of COMPRESSIONS) {
  testServer(
    `the same answer alone, in a crowd, with a cached prompt, and preempted: ${name}`,
    async (start) => {
      const alone = await serving(start, { prefixCache: false }, async (server) => {
        const answers: Answer[] = [];
        for (let index = 0; index < CROWD; index++) answers.push(await answer(server, index, compression));
        return answers;
      });
      await serving(start, {}, async (server) => {
        assertSame(await crowd(server, compression), alone, "in a crowd");
        const again = await crowd(server, compression);
        for (const { cachedTokens } of again) assert(cachedTokens > 0, "the prompt is cached");
        assertSame(again, alone, "with a cached prompt");
      });
      await serving(start, { kvMemory: SMALL_POOL_BYTES }, async (server) => {
        assertSame(await crowd(server, compression), alone, "preempted");
        const { preempted, resumed } = server.scheduler.metrics;
        assert(preempted > 0, "the pool was too small for all");
        assert.equal(resumed, preempted);
      });
    },
  );
}
