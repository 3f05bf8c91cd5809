/** The official client against the real server: what it reads, what it throws, and what leaving early does. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { sleep, systemClock } from "../../lib/core/clock.ts";
import { type Start, testServer } from "../support/server_test.ts";
import { pictureQuestion } from "../support/question.ts";
import type { TestServer } from "../support/server.ts";

async function withClient(
  start: Start,
  run: (client: OpenAI, model: string, server: TestServer) => Promise<void>,
): Promise<void> {
  const server = await start();
  try {
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
    await run(client, (await client.models.list()).data[0].id, server);
  } finally {
    await server.close();
  }
}

testServer("client: whole and streamed answers are the same, token by token", async (start) => {
  await withClient(start, async (client, model) => {
    const body = { ...pictureQuestion(3), model, logprobs: true, top_logprobs: 3 };
    // What the first answer leaves in the prefix cache is found by both that are compared.
    await client.chat.completions.create(body);
    const whole = await client.chat.completions.create(body);
    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    const tokens: OpenAI.ChatCompletionTokenLogprob[] = [];
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      for (const { delta, logprobs } of chunk.choices) {
        text += delta.content ?? "";
        tokens.push(...logprobs?.content ?? []);
      }
      usage = chunk.usage;
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.deepEqual(usage, whole.usage);
    assert.deepEqual(
      tokens.map(({ token }) => token),
      whole.choices[0].logprobs?.content?.map(({ token }) => token),
    );
    assert.equal(tokens.length, whole.usage?.completion_tokens);
    assert.ok(tokens.every((token) => token.top_logprobs.length === 3));
    assert.ok((whole.usage?.prompt_tokens ?? 0) > 0);
  });
});

testServer("client: its error classes and request id are what the statuses promise", async (start) => {
  await withClient(start, async (client, model) => {
    const messages = [{ role: "user" as const, content: "Hello" }];
    await assert.rejects(
      client.chat.completions.create({ model, messages, temperature: 5 }),
      (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.code, "invalid_value");
        assert.equal(error.param, "temperature");
        assert.match(error.requestID ?? "", /^req-/);
        return true;
      },
    );
    await assert.rejects(
      client.chat.completions.create({ model: "other", messages }),
      (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
    );
  });
});

testServer("client: one that leaves inside a stream gives its pages back", async (start) => {
  await withClient(start, async (client, model, server) => {
    const stream = await client.chat.completions.create({
      ...pictureQuestion(0),
      model,
      stream: true,
      max_tokens: 64,
      // The field of this server and of vLLM, unknown to the client's types.
      ...{ ignore_eos: true },
    });
    for await (const _ of stream) break;
    for (let turn = 0; server.scheduler.snapshot().sequences > 0; turn++) {
      assert.ok(turn < 200, "the request was not cancelled within four seconds");
      await sleep(systemClock, 20);
    }
    assert.equal(server.scheduler.snapshot().pagesUsed, 0);
    server.scheduler.checkIntegrity();
  });
});

testServer("client: compression reports what it kept", async (start) => {
  await withClient(start, async (client, model) => {
    const answer = await client.chat.completions.create({
      ...pictureQuestion(0),
      model,
      // A field of this server, unknown to the client's types.
      ...{ kv_compression: { method: "knorm", ratio: 0.5 } },
    });
    const usage = answer.usage as unknown as {
      prompt_tokens: number;
      kv_compression: { method: string; prompt_tokens: number; kept_tokens: number };
    };
    assert.equal(usage.kv_compression.method, "knorm");
    assert.equal(usage.kv_compression.prompt_tokens, usage.prompt_tokens);
    assert.equal(usage.kv_compression.kept_tokens, Math.trunc(usage.prompt_tokens * 0.5));
  });
});
