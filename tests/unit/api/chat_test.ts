import assert from "node:assert/strict";
import { compressionBy } from "../../support/compressions.ts";
import { finished, framesOf, hello, scriptedApp } from "../../support/scripted_scheduler.ts";
import type { GenerateEvent, TokenLogprob } from "../../../scheduler/messages.ts";

const PATH = "/v1/chat/completions";
const messages = [{ role: "user", content: "Say hello" }];

const heLogprob: TokenLogprob = {
  id: 10,
  text: "Hel",
  bytes: [72, 101, 108],
  logprob: -0.25,
  top: [
    { id: 10, text: "Hel", bytes: [72, 101, 108], logprob: -0.25 },
    { id: 12, text: "Hi", bytes: [72, 105], logprob: -Infinity },
  ],
};

async function* helloWithLogprobs(): AsyncGenerator<GenerateEvent> {
  for await (const event of hello()) {
    yield event.type === "token" && event.id === 10 ? { ...event, logprob: heLogprob } : event;
  }
}

Deno.test("chat: a whole answer has OpenAI's shape and counts its tokens", async () => {
  const { post } = scriptedApp();
  const response = await post(PATH, { model: "scripted", messages });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
  const body = await response.json();
  assert.match(body.id, /^chatcmpl-[0-9a-f]{24}$/);
  assert.equal(typeof body.created, "number");
  assert.deepEqual(body, {
    id: body.id,
    created: body.created,
    model: "scripted",
    object: "chat.completion",
    choices: [{
      index: 0,
      message: { role: "assistant", content: "Hello", refusal: null },
      logprobs: null,
      finish_reason: "stop",
    }],
    usage: {
      prompt_tokens: 4,
      completion_tokens: 2,
      total_tokens: 6,
      prompt_tokens_details: { cached_tokens: 0, image_tokens: 2 },
    },
  });
});

Deno.test("chat: text that was held back until the end belongs to the answer", async () => {
  const { post } = scriptedApp(async function* () {
    for await (const event of hello()) {
      yield event.type === "finished" ? { ...finished, reason: "length", text: " wor" } : event;
    }
  });
  const body = await (await post(PATH, { messages })).json();
  assert.equal(body.choices[0].message.content, "Hello wor");
  assert.equal(body.choices[0].finish_reason, "length");
});

Deno.test("chat: return_token_ids and return_timings add ids and timings", async () => {
  const { post } = scriptedApp();
  const body = await (await post(PATH, { messages, return_token_ids: true, return_timings: true })).json();
  assert.deepEqual(body.prompt_token_ids, [1, 7, 7, 2]);
  assert.deepEqual(body.choices[0].token_ids, [10, 11]);
  assert.deepEqual(body.timings, finished.timings);
});

Deno.test("chat: timings are whole microseconds", async () => {
  const { post } = scriptedApp(async function* () {
    for await (const event of hello()) {
      yield event.type === "finished"
        ? { ...event, timings: { decode: { wait_ms: 0.1 + 0.2, run_ms: 1234.56789 } } }
        : event;
    }
  });
  const body = await (await post(PATH, { messages, return_timings: true })).json();
  assert.deepEqual(body.timings, { decode: { wait_ms: 0.3, run_ms: 1234.568 } });
});

Deno.test("chat: logprobs carry text, bytes and alternatives, and stay finite", async () => {
  const { post, scheduler } = scriptedApp(helloWithLogprobs);
  const body = await (await post(PATH, { messages, logprobs: true, top_logprobs: 2 })).json();
  assert.equal(scheduler.requests[0].sampling.logprobs, 2);
  assert.deepEqual(body.choices[0].logprobs, {
    content: [{
      token: "Hel",
      logprob: -0.25,
      bytes: [72, 101, 108],
      top_logprobs: [
        { token: "Hel", logprob: -0.25, bytes: [72, 101, 108] },
        { token: "Hi", logprob: -9999, bytes: [72, 105] },
      ],
    }],
    refusal: null,
  });
});

Deno.test("chat: usage says what compression kept", async () => {
  const { post, scheduler } = scriptedApp(async function* () {
    for await (const event of hello()) {
      yield event.type !== "finished" ? event : {
        ...finished,
        compression: {
          method: "knorm",
          size: { ratio: 0.5 },
          quantise: { bits: 8, tail: "float" },
          reason: "request",
          promptTokens: 4,
          storedTokens: 4,
          keptTokens: 2,
          bytesBefore: 4096,
          bytesAfter: 2048,
        },
      };
    }
  });
  const body = await (await post(PATH, { messages, kv_compression: { method: "knorm", ratio: 0.5 } })).json();
  assert.deepEqual(scheduler.requests[0].compression, compressionBy("knorm", 0.5));
  assert.deepEqual(body.usage.kv_compression, {
    method: "knorm",
    ratio: 0.5,
    quantize: "int8",
    reason: "request",
    prompt_tokens: 4,
    stored_tokens: 4,
    kept_tokens: 2,
    bytes_before: 4096,
    bytes_after: 2048,
  });
});

Deno.test("chat stream: one chunk a token, role with the first, reason in the last, then [DONE]", async () => {
  const { post } = scriptedApp();
  const response = await post(PATH, { messages, stream: true });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  assert.equal(response.headers.get("cache-control"), "no-cache");
  assert.equal(response.headers.get("x-accel-buffering"), "no");
  const frames = await framesOf(response);
  assert.equal(frames.pop(), "[DONE]");
  const chunks = frames as { id: string; created: number; model: string; object: string }[];
  for (const chunk of chunks) {
    assert.equal(chunk.id, chunks[0].id);
    assert.equal(chunk.created, chunks[0].created);
    assert.equal(chunk.model, "scripted");
    assert.equal(chunk.object, "chat.completion.chunk");
    assert.ok(!("usage" in chunk));
  }
  assert.deepEqual(chunks.map((chunk) => (chunk as unknown as { choices: unknown }).choices), [
    [{ index: 0, delta: { role: "assistant", content: "Hel" }, logprobs: null, finish_reason: null }],
    [{ index: 0, delta: { content: "lo" }, logprobs: null, finish_reason: null }],
    [{ index: 0, delta: {}, logprobs: null, finish_reason: "stop" }],
  ]);
});

Deno.test("chat stream: held-back text comes with the finish reason", async () => {
  const { post } = scriptedApp(async function* () {
    for await (const event of hello()) yield event.type === "finished" ? { ...finished, text: "!" } : event;
  });
  const frames = await framesOf(await post(PATH, { messages, stream: true }));
  const last = frames.at(-2) as { choices: { delta: unknown; finish_reason: string }[] };
  assert.deepEqual(last.choices[0].delta, { content: "!" });
  assert.equal(last.choices[0].finish_reason, "stop");
});

Deno.test("chat stream: include_usage adds a chunk without choices, and null in all others", async () => {
  const { post } = scriptedApp();
  const frames = await framesOf(
    await post(PATH, {
      messages,
      stream: true,
      stream_options: { include_usage: true },
      return_timings: true,
    }),
  ) as { choices: unknown[]; usage: unknown; timings?: unknown }[];
  const usage = frames.at(-2)!;
  assert.deepEqual(usage.choices, []);
  assert.deepEqual(usage.usage, {
    prompt_tokens: 4,
    completion_tokens: 2,
    total_tokens: 6,
    prompt_tokens_details: { cached_tokens: 0, image_tokens: 2 },
  });
  assert.deepEqual(usage.timings, finished.timings);
  for (const chunk of frames.slice(0, -2)) {
    assert.equal(chunk.usage, null);
    assert.ok(!("timings" in chunk));
  }
});

Deno.test("chat stream: return_token_ids gives the prompt's once and each chunk its own", async () => {
  const { post } = scriptedApp();
  const frames = await framesOf(
    await post(PATH, { messages, stream: true, return_token_ids: true, return_timings: true }),
  ) as { choices: { token_ids: number[] }[]; prompt_token_ids?: number[]; timings?: unknown }[];
  const chunks = frames.slice(0, -1);
  assert.deepEqual(chunks.map((chunk) => chunk.choices[0].token_ids), [[10], [11], []]);
  assert.deepEqual(chunks.map((chunk) => chunk.prompt_token_ids), [[1, 7, 7, 2], undefined, undefined]);
  assert.deepEqual(chunks.at(-1)!.timings, finished.timings);
});

Deno.test("chat: fields reach the scheduler; null and absent take the model's defaults", async () => {
  const { post, scheduler } = scriptedApp();
  await post(PATH, {
    messages,
    temperature: null,
    top_p: 0.5,
    seed: 4294967298,
    max_tokens: 5,
    max_completion_tokens: 6,
    stop: ["\n"],
    ignore_eos: true,
    kv_compression: { method: "none" },
    user: "somebody",
  });
  const [request] = scheduler.requests;
  assert.deepEqual(request.sampling, {
    temperature: 0.6,
    topP: 0.5,
    minP: 0,
    topK: 50,
    seed: [2, 1],
    logprobs: null,
  });
  assert.equal(request.maxTokens, 6);
  assert.equal(request.maxTokensParam, "max_completion_tokens");
  assert.deepEqual(request.stop, ["\n"]);
  assert.equal(request.ignoreEos, true);
  assert.equal(request.compression, null);
});

Deno.test("chat: without kv_compression the server's own choice holds", async () => {
  const { post, scheduler } = scriptedApp();
  await post(PATH, { messages });
  assert.equal(scheduler.requests[0].compression, undefined);
  assert.equal(scheduler.requests[0].maxTokens, null);
});

Deno.test("chat: developer means system, and pictures arrive as bytes with their field path", async () => {
  const { post, scheduler } = scriptedApp();
  const response = await post(PATH, {
    messages: [
      { role: "developer", content: "Be brief." },
      {
        role: "user",
        content: [
          { type: "image_url", image_url: { url: "data:image/png;base64,AQID", detail: "low" } },
          { type: "image_url", image_url: "data:image/png;base64,BAU=" },
          { type: "text", text: "What is this?" },
        ],
      },
    ],
  });
  assert.equal(response.status, 200);
  const { prompt } = scheduler.requests[0];
  assert.deepEqual(prompt, {
    kind: "chat",
    param: "messages",
    messages: [
      { role: "system", content: "Be brief." },
      {
        role: "user",
        content: [
          { type: "image", bytes: new Uint8Array([1, 2, 3]), param: "messages[1].content[0].image_url.url" },
          { type: "image", bytes: new Uint8Array([4, 5]), param: "messages[1].content[1].image_url" },
          { type: "text", text: "What is this?" },
        ],
      },
    ],
  });
});
