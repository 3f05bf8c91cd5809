/**
 * What a request answers once memory has run short and its cache was compressed in the middle of the answer: the tokens
 * that follow when all that was stored then is a prompt, and is compressed by name. With messages that are protected the
 * bare engine compresses that prompt, for a server protects no tokens of an answer.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { startEngine } from "../../lib/engine/client.ts";
import type { Engine } from "../../lib/engine/engine.ts";
import type { SlotSpan } from "../../lib/engine/compress/method.ts";
import { parseCompression } from "../../scheduler/compression.ts";
import type { Compression, GenerateRequest, Prompt } from "../../scheduler/messages.ts";
import { CompressedPrompt, PageDeck, sampledBy } from "../support/compressed.ts";
import { collect, requestOf } from "../support/scripted_service.ts";
import type { TestServer } from "../support/server.ts";
import { type Start, testServer } from "../support/server_test.ts";

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

const tokensPrompt = (tokens: readonly number[]): Prompt => ({ kind: "tokens", tokens, param: "prompt" });

async function answer(server: TestServer, prompt: Prompt, fields: Partial<GenerateRequest>) {
  const events = await collect(server.scheduler.submit(
    requestOf("", {
      prompt,
      sampling: { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [1, 0], logprobs: 1 },
      ignoreEos: true,
      ...fields,
    }),
    new AbortController().signal,
  ));
  const [first] = events, end = events[events.length - 1];
  assert(first.type === "admitted" && end.type === "finished", JSON.stringify(end));
  const sampled = events.filter((event) => event.type === "token");
  return {
    prompt: first.promptTokenIds,
    tokens: sampled.map(({ id, logprob }) => ({ id, logprob: logprob?.logprob })),
    compression: end.compression,
  };
}

/** Answers to all prompts at one time, in a pool that is too small for them; those whose caches were compressed after their first tokens. */
async function crowded(start: Start, prompts: readonly Prompt[], fields: Record<string, unknown>) {
  const small = await start({ kvMemory: SMALL_POOL_BYTES });
  // A prompt alone is too short for auto, so that only memory makes it compress.
  const auto = compression({ method: "auto", ...fields, min_tokens: PROMPT_TOKENS + 1 });
  // After short answers it expects short ones, and lets more begin than have room to end.
  for (let i = 0; i < SHORT_ANSWERS; i++) {
    await answer(small, prompts[0], { compression: null, maxTokens: 1 });
  }
  const answers = await Promise.all(
    prompts.map((prompt) => answer(small, prompt, { compression: auto, maxTokens: ANSWER_TOKENS })),
  );
  assert(small.scheduler.metrics.shrunk > 0, "memory ran short");
  small.scheduler.checkIntegrity();
  await small.close();
  const compared = answers.flatMap(({ prompt, tokens, compression: usage }, index) => {
    assert(usage !== null && prompt.length === PROMPT_TOKENS);
    const answered = usage.storedTokens - PROMPT_TOKENS;
    if (answered < 1 || usage.reason !== "memory") return [];
    const stored = [...prompt, ...tokens.slice(0, answered).map(({ id }) => id)];
    return [{ index, stored, keptTokens: usage.keptTokens, rest: tokens.slice(answered) }];
  });
  assert(compared.length > 0, "some were compressed after their first tokens");
  return compared;
}

for (
  const [name, fields] of [["raw slots", {}], ["packed slots", { ratio: 0.6, quantize: "int8" }]] as const
) {
  testServer(`a cache compressed in the middle of an answer for want of memory: ${name}`, async (start) => {
    const prompts = Array.from(
      { length: CROWD },
      (_, index) => Array.from({ length: PROMPT_TOKENS }, (_, at) => 20 + (at * (7 + index) + index) % 60),
    );
    const compared = await crowded(start, prompts.map(tokensPrompt), fields);
    const roomy = await start();
    const named = compression({ method: "keydiff", ratio: 0.5, ...fields });
    for (const { index, stored, keptTokens, rest } of compared) {
      const asked = { compression: named, maxTokens: rest.length };
      const alone = await answer(roomy, tokensPrompt(stored), asked);
      assert.equal(alone.compression?.keptTokens, keptTokens);
      assert.deepEqual(alone.tokens, rest, `request ${index}`);
    }
    await roomy.close();
  });
}

const MODEL = fileURLToPath(new URL("../../deploy/model", import.meta.url));
/** Words of one token each. */
const WORDS = ["red", "green", "blue", "small", "large", "square", "triangle", "left"];
const words = (count: number, step: number) =>
  Array.from({ length: count }, (_, at) => WORDS[(at * step + (at >> 3)) % WORDS.length]).join(" ");
const SYSTEM_TOKENS = 24;
/** Behind the marks of the prompt's beginning and of the message. */
const SYSTEM: SlotSpan = { first: 2, count: SYSTEM_TOKENS };
/** Tokens after compression that are compared: those that `CompressedPrompt` has room for. */
const COMPARED_TOKENS = 32;

/** The answer's next tokens when the bare engine has `stored` as a prompt and compresses it around the system message. */
async function protectedRest(engine: Engine, deck: PageDeck, stored: readonly number[], count: number) {
  const named = compression({ method: "keydiff", ratio: 0.5 });
  const prompt = new CompressedPrompt(engine, deck, Uint32Array.from(stored), named, { protect: [SYSTEM] });
  const rest = await sampledBy(engine, [prompt.part(stored.length)]);
  await engine.compress([prompt.sequence]);
  for (let at = 0; at + 1 < count; at++) {
    rest.push(...await sampledBy(engine, [prompt.tokenPart(rest[at].id, at)]));
  }
  return { kept: prompt.sequence.kept[0], tokens: rest.map(({ id, logprob }) => ({ id, logprob })) };
}

testServer("a cache compressed for want of memory keeps the protected message", async (start, backend) => {
  const prompts = Array.from({ length: CROWD }, (_, index): Prompt => ({
    kind: "chat",
    param: "messages",
    messages: [
      { role: "system", content: words(SYSTEM_TOKENS, 3) },
      // Behind the beginning and three marks of roles.
      { role: "user", content: words(PROMPT_TOKENS - SYSTEM_TOKENS - 4, 5 + 2 * index) },
    ],
  }));
  const compared = await crowded(start, prompts, { protect: ["system"] });
  const engine = await startEngine({
    ...{ modelDir: MODEL, loadFormat: "auto", backend, threads: 2, weights: "stored" },
    ...{ kvDtype: "f16", kvBytes: 32 * 1024 ** 2, maxNumSeqs: CROWD, maxModelLen: null },
  });
  const deck = new PageDeck(engine, 5);
  for (const { index, stored, keptTokens, rest } of compared) {
    assert.equal(keptTokens, SYSTEM_TOKENS + Math.trunc((stored.length - SYSTEM_TOKENS) / 2));
    const expected = rest.slice(0, COMPARED_TOKENS);
    const alone = await protectedRest(engine, deck, stored, expected.length);
    assert.equal(alone.kept, keptTokens);
    assert.deepEqual(alone.tokens, expected, `request ${index}`);
  }
  await engine.close();
});
