/** Clients that go away before their answer, with bodies of many packets: what they held comes back soon. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { sleep, systemClock } from "../../lib/core/clock.ts";
import { withCopy } from "../support/model_files.ts";
import { pictureQuestion } from "../support/question.ts";
import type { TestServer } from "../support/server.ts";
import { type Start, testServer } from "../support/server_test.ts";

/** A status waits a second at most, and cancelling ends with the step that runs; the rest is for slow machines. */
const CANCEL_MS_MAX = 30_000;

const MODEL = fileURLToPath(new URL("../../deploy/model", import.meta.url));
/** Of this model, whose weights say nothing of its context: so many tokens take any machine longer than a test. */
const CONTEXT_TOKENS = 1 << 15;
const LONG = { ignore_eos: true, max_tokens: CONTEXT_TOKENS - 2_000, temperature: 0 };
const hello = { ...LONG, messages: [{ role: "user", content: "Hello" }] };

/** A body that is `bytes` longer than it has to be. */
const padded = (bytes: number) => ({ ...hello, user: "x".repeat(bytes) });

/** Sends one request over a connection of its own, which the test may close. */
async function ask(server: TestServer, body: unknown): Promise<Deno.TcpConn> {
  const { hostname, port } = new URL(server.url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const json = new TextEncoder().encode(JSON.stringify(body));
  const head = new TextEncoder().encode(
    "POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n" +
      `content-length: ${json.length}\r\n\r\n`,
  );
  const writer = connection.writable.getWriter();
  await writer.write(head);
  await writer.write(json);
  writer.releaseLock();
  return connection;
}

async function until(server: TestServer, sequences: number, withinMs: number): Promise<void> {
  const startedMs = performance.now();
  while (server.scheduler.snapshot().sequences !== sequences) {
    assert.ok(
      performance.now() - startedMs < withinMs,
      `${server.scheduler.snapshot().sequences} sequences are there, not ${sequences}`,
    );
    await sleep(systemClock, 10);
  }
}

async function serving(
  start: Start,
  values: Parameters<Start>[0],
  run: (server: TestServer) => Promise<void>,
): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(`${MODEL}/config.json`));
  config.text_config.max_position_embeddings = CONTEXT_TOKENS;
  await withCopy(MODEL, { "config.json": config }, async (model) => {
    const server = await start({ ...values, model });
    try {
      await run(server);
      const { finished } = server.scheduler.metrics;
      assert.equal(finished.length + finished.stop, 0, "a request ran to its end");
      assert.equal(server.scheduler.snapshot().pagesUsed, 0);
      server.scheduler.checkIntegrity();
    } finally {
      await server.close();
    }
  });
}

for (const [size, bytes] of [["16 KB", 16_000], ["1 MB", 1_000_000]] as const) {
  testServer(
    `abandoned while generating, ${size} body: whole and streamed answers are cancelled`,
    async (start) => {
      await serving(start, {}, async (server) => {
        for (const stream of [false, true]) {
          for (const waitMs of [0, 1_300]) {
            const client = await ask(server, { ...padded(bytes), stream });
            await until(server, 1, CANCEL_MS_MAX);
            await sleep(systemClock, waitMs);
            client.close();
            await until(server, 0, CANCEL_MS_MAX);
          }
        }
      });
    },
  );

  testServer(
    `abandoned in the queue, ${size} body: whole and streamed answers are cancelled`,
    async (start) => {
      await serving(start, { maxNumSeqs: 1 }, async (server) => {
        const running = await ask(server, { ...hello, stream: true });
        await until(server, 1, CANCEL_MS_MAX);
        for (const stream of [false, true]) {
          const client = await ask(server, { ...padded(bytes), stream });
          await until(server, 2, CANCEL_MS_MAX);
          client.close();
          await until(server, 1, CANCEL_MS_MAX);
        }
        running.close();
        await until(server, 0, CANCEL_MS_MAX);
      });
    },
  );
}

testServer("abandoned: 24 requests with pictures at once give everything back", async (start) => {
  await serving(start, {}, async (server) => {
    const clients = await Promise.all(
      Array.from(
        { length: 24 },
        (_, index) => ask(server, { ...pictureQuestion(index), ...LONG, stream: index % 2 === 1 }),
      ),
    );
    await until(server, 24, CANCEL_MS_MAX);
    for (const client of clients) client.close();
    await until(server, 0, CANCEL_MS_MAX);
  });
});
