import assert from "node:assert/strict";
import type { GenerateEvent } from "../../../scheduler/messages.ts";
import { framesOf, hello, scriptedApp } from "../../support/scripted_scheduler.ts";

const PATH = "/v1/completions";

async function* helloWithLogprobs(): AsyncGenerator<GenerateEvent> {
  for await (const event of hello()) {
    yield event.type !== "token" ? event : {
      ...event,
      logprob: {
        id: event.id,
        text: event.text,
        bytes: [],
        logprob: -1,
        top: [{ id: 1, text: "other", bytes: [], logprob: -0.5 }],
      },
    };
  }
}

Deno.test("completions: a whole answer has the text completion's shape", async () => {
  const { post } = scriptedApp();
  const body = await (await post(PATH, { prompt: "Say" })).json();
  assert.match(body.id, /^cmpl-/);
  assert.equal(body.object, "text_completion");
  assert.deepEqual(body.choices, [{ index: 0, text: "Hello", logprobs: null, finish_reason: "stop" }]);
  assert.equal(body.usage.total_tokens, 6);
});

Deno.test("completions: a prompt may be text, ids, or an array of one of them", async () => {
  const { post, scheduler } = scriptedApp();
  for (const prompt of ["Say", [1, 2], ["Say"], [[1, 2]]]) {
    assert.equal((await post(PATH, { prompt })).status, 200);
  }
  const text = { kind: "text", text: "Say", param: "prompt" };
  const tokens = { kind: "tokens", tokens: [1, 2], param: "prompt" };
  assert.deepEqual(scheduler.requests.map((request) => request.prompt), [text, tokens, text, tokens]);
});

Deno.test("completions: max_tokens reaches the scheduler, and absence leaves it to the server", async () => {
  const { post, scheduler } = scriptedApp();
  await post(PATH, { prompt: "Say" });
  await post(PATH, { prompt: "Say", max_tokens: 3 });
  assert.deepEqual(scheduler.requests.map((request) => request.maxTokens), [null, 3]);
});

Deno.test("completions: logprobs come in the older shape with offsets, whole and streamed alike", async () => {
  const { post } = scriptedApp(helloWithLogprobs);
  const whole = await (await post(PATH, { prompt: "Say", logprobs: 1 })).json();
  assert.deepEqual(whole.choices[0].logprobs, {
    tokens: ["Hel", "lo"],
    token_logprobs: [-1, -1],
    top_logprobs: [{ other: -0.5, Hel: -1 }, { other: -0.5, lo: -1 }],
    text_offset: [0, 3],
  });
  const frames = await framesOf(await post(PATH, { prompt: "Say", logprobs: 1, stream: true }));
  const chunks = frames.slice(0, -1) as {
    choices: { text: string; logprobs: { text_offset: number[] } | null }[];
  }[];
  assert.deepEqual(chunks.map((chunk) => chunk.choices[0].text), ["Hel", "lo", ""]);
  assert.deepEqual(chunks.map((chunk) => chunk.choices[0].logprobs?.text_offset), [[0], [3], undefined]);
});

Deno.test("completions stream: the last chunk has the finish reason, then [DONE]", async () => {
  const { post } = scriptedApp();
  const frames = await framesOf(await post(PATH, { prompt: "Say", stream: true }));
  assert.equal(frames.pop(), "[DONE]");
  assert.deepEqual(
    frames.map((frame) => (frame as { choices: { finish_reason: unknown }[] }).choices[0].finish_reason),
    [null, null, "stop"],
  );
});
