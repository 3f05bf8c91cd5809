/**
 * What a request answers once memory has run short and its cache was compressed in the middle of the answer: the tokens
 * that follow when all that was stored then is a prompt, and is compressed by name.
 */
import assert from "node:assert/strict";
import { parseCompression } from "../../scheduler/compression.ts";
import type { Compression, GenerateRequest } from "../../scheduler/messages.ts";
import { collect, requestOf } from "../support/scripted_service.ts";
import type { TestServer } from "../support/server.ts";
import { testServer } from "../support/server_test.ts";

const CROWD = 8;
/** 96 prompt tokens and 96 more are 12 pages in each of 5 layers, 8 KiB each: four in a pool of 2 MiB. */
const PROMPT_TOKENS = 96;
const ANSWER_TOKENS = 96;
const SHORT_ANSWERS = 32;
const SMALL_POOL_BYTES = 2 * 1024 ** 2;

function compression(fields: Record<string, unknown>): Compression {
  const parsed = parseCompression(fields);
  assert(parsed.ok && parsed.compression !== null);
  return parsed.compression;
}

async function answer(server: TestServer, tokens: readonly number[], fields: Partial<GenerateRequest>) {
  const events = await collect(server.scheduler.submit(
    requestOf("", {
      prompt: { kind: "tokens", tokens, param: "prompt" },
      sampling: { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [1, 0], logprobs: 1 },
      ignoreEos: true,
      ...fields,
    }),
    new AbortController().signal,
  ));
  const end = events[events.length - 1];
  assert(end.type === "finished", JSON.stringify(end));
  const sampled = events.filter((event) => event.type === "token");
  return {
    tokens: sampled.map(({ id, logprob }) => ({ id, logprob: logprob?.logprob })),
    compression: end.compression,
  };
}

for (
  const [name, fields] of [["raw slots", {}], ["packed slots", { ratio: 0.6, quantize: "int8" }]] as const
) {
  testServer(`a cache compressed in the middle of an answer for want of memory: ${name}`, async (start) => {
    const prompts = Array.from(
      { length: CROWD },
      (_, index) => Array.from({ length: PROMPT_TOKENS }, (_, at) => 20 + (at * (7 + index) + index) % 60),
    );
    const small = await start({ kvMemory: SMALL_POOL_BYTES });
    // A prompt alone is too short for auto, so that only memory makes it compress.
    const auto = compression({ method: "auto", ...fields, min_tokens: PROMPT_TOKENS + 1 });
    // After short answers it expects short ones, and lets more begin than have room to end.
    for (let i = 0; i < SHORT_ANSWERS; i++) {
      await answer(small, prompts[0], { compression: null, maxTokens: 1 });
    }
    const answers = await Promise.all(
      prompts.map((tokens) => answer(small, tokens, { compression: auto, maxTokens: ANSWER_TOKENS })),
    );
    assert(small.scheduler.metrics.shrunk > 0, "memory ran short");
    small.scheduler.checkIntegrity();
    await small.close();

    const roomy = await start();
    let compared = 0;
    for (const [index, { tokens, compression: usage }] of answers.entries()) {
      assert(usage !== null);
      const { storedTokens, keptTokens } = usage, answered = storedTokens - PROMPT_TOKENS;
      if (answered < 1 || storedTokens === keptTokens) continue;
      compared++;
      const stored = [...prompts[index], ...tokens.slice(0, answered).map(({ id }) => id)];
      const named = compression({ method: "keydiff", ratio: 0.5, ...fields });
      const rest = await answer(roomy, stored, { compression: named, maxTokens: ANSWER_TOKENS - answered });
      assert.equal(rest.compression?.keptTokens, keptTokens);
      assert.deepEqual(rest.tokens, tokens.slice(answered), `request ${index}`);
    }
    assert(compared > 0, "some were compressed after their first tokens");
    await roomy.close();
  });
}
