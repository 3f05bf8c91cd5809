/** The server under load, through the official client. */
import assert from "node:assert/strict";
import OpenAI from "openai";
import { testServer } from "../support/server_test.ts";
import { pictureQuestion } from "../support/question.ts";

/** Streams one question and returns its text, its chunks with choices, and how it ended. */
async function stream(client: OpenAI, model: string, index: number) {
  const chunks = await client.chat.completions.create({
    ...pictureQuestion(index),
    model,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "", finish: string | null = null, pieces = 0, usage: OpenAI.CompletionUsage | null = null;
  for await (const chunk of chunks) {
    if (chunk.usage) usage = chunk.usage;
    for (const choice of chunk.choices) {
      text += choice.delta.content ?? "";
      finish = choice.finish_reason ?? finish;
      pieces++;
    }
  }
  return { text, finish, pieces, usage };
}

testServer(
  "the server answers 32 concurrent picture streams, each as it answers it alone, and gives every page back",
  async (start) => {
    const server = await start();
    try {
      const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
      const model = (await client.models.list()).data[0].id;
      const alone = [];
      for (const index of [0, 9, 18]) alone.push((await stream(client, model, index)).text);
      const answers = await Promise.all(
        Array.from({ length: 32 }, (_, index) => stream(client, model, index)),
      );
      for (const answer of answers) {
        assert.notEqual(answer.text, "");
        assert.equal(answer.finish, "stop");
        assert(answer.usage !== null && answer.usage.completion_tokens >= 1);
        // One chunk a token, and the one with the finish reason.
        assert.equal(answer.pieces, answer.usage.completion_tokens + 1);
      }
      assert.deepEqual([0, 9, 18].map((index) => answers[index].text), alone);
      const snapshot = server.scheduler.snapshot();
      assert.deepEqual([snapshot.pagesUsed, snapshot.running, snapshot.waiting, snapshot.sequences], [
        0,
        0,
        0,
        0,
      ]);
      server.scheduler.checkIntegrity();
      const metrics = await (await fetch(`${server.url}/metrics`)).text();
      assert.match(metrics, /^vllm:num_requests_running\S* 0$/m);
      assert.match(metrics, /^vllm:kv_cache_usage_perc\S* 0$/m);
    } finally {
      await server.close();
    }
  },
);

testServer(
  "a question has the same answer alone and among 16 others, whatever the windows",
  async (start) => {
    const texts: string[][] = [];
    for (
      const windows of [
        {},
        {
          prefillWindow: { items: 2, tokens: 100, waitMs: 0 },
          decodeWindow: { items: 3, tokens: 3, waitMs: 0 },
        },
        {
          encodeWindow: { items: 1, tokens: 64, waitMs: 0 },
          prefillWindow: { items: 32, tokens: 4096, waitMs: 50 },
        },
      ]
    ) {
      const server = await start(windows);
      try {
        const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
        const model = (await client.models.list()).data[0].id;
        const ask = async (index: number) => (await stream(client, model, index)).text;
        const alone = await ask(40);
        const crowd = await Promise.all(
          Array.from({ length: 17 }, (_, index) => ask(index === 8 ? 40 : index)),
        );
        assert.equal(crowd[8], alone);
        texts.push(crowd);
      } finally {
        await server.close();
      }
    }
    assert.deepEqual(texts[1], texts[0]);
    assert.deepEqual(texts[2], texts[0]);
  },
);

testServer("a client that goes away cancels its request and its pages come back", async (start) => {
  const server = await start();
  try {
    const gone = new AbortController();
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...pictureQuestion(0), stream: true, ignore_eos: true, max_tokens: 1500 }),
      signal: gone.signal,
    });
    await response.body!.getReader().read();
    assert(server.scheduler.snapshot().pagesUsed > 0);
    gone.abort();
    while (server.scheduler.snapshot().sequences > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(server.scheduler.snapshot().pagesUsed, 0);
    server.scheduler.checkIntegrity();
  } finally {
    await server.close();
  }
});
