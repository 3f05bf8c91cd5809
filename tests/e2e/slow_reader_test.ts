/** A client that stops reading a long stream: it alone pauses, and at the deadline its memory comes back. */
import assert from "node:assert/strict";
import { sleep, systemClock } from "../../lib/core/clock.ts";
import { answerTo, requestOf } from "../support/scripted_service.ts";
import type { TestServer } from "../support/server.ts";
import { testServer } from "../support/server_test.ts";

/** For slow machines; the test ends as soon as it sees what it waits for. */
const WAIT_MS_MAX = 60_000;

async function until(what: string, ready: () => boolean): Promise<void> {
  const startedMs = systemClock.now();
  while (!ready()) {
    assert(systemClock.now() - startedMs < WAIT_MS_MAX, what);
    await sleep(systemClock, 10);
  }
}

/** Asks for the longest stream over a connection of its own and reads nothing. */
async function unread(server: TestServer, body: object): Promise<Deno.TcpConn> {
  const { hostname, port } = new URL(server.url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const json = new TextEncoder().encode(JSON.stringify(body));
  const head = new TextEncoder().encode(
    "POST /v1/completions HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n" +
      `content-length: ${json.length}\r\n\r\n`,
  );
  const writer = connection.writable.getWriter();
  await writer.write(head);
  await writer.write(json);
  writer.releaseLock();
  return connection;
}

/**
 * The sockets of both sides take up to 4 MiB and the stream's channel 256 events before a reader is seen to be slow.
 * Every event names the model, so with this name 256 + 4 MiB / 32 KiB = 384 tokens fill them.
 */
const servedModelName = "x".repeat(32 * 1024);
const TOKENS = 600;
const LONG = {
  prompt: "what colour is the small triangle?",
  stream: true,
  ignore_eos: true,
  max_tokens: TOKENS,
  temperature: 0,
};

async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const value = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
  assert(value !== undefined, `${name} is told`);
  return Number(value);
}

/** Resolves when the only stream has paused and the sockets take no more of it. */
async function filled({ scheduler }: TestServer): Promise<void> {
  for (let before = -1; scheduler.snapshot().paused === 0 || scheduler.metrics.generatedTokens !== before;) {
    before = scheduler.metrics.generatedTokens;
    assert(before < TOKENS, "the stream pauses before its end");
    await sleep(systemClock, 300);
  }
}

/** Reads to the end of the answer; returns how many events it had. */
async function readOn(connection: Deno.TcpConn): Promise<number> {
  let events = 0, tail = "";
  for await (const text of connection.readable.pipeThrough(new TextDecoderStream())) {
    const seen = tail + text;
    events += seen.split("data: ").length - 1;
    if (seen.includes("[DONE]")) break;
    // What might be the beginning of "data: " or "[DONE]".
    tail = seen.slice(-5);
  }
  return events;
}

testServer("a stream that nobody reads pauses alone, and goes on when it is read", async (start) => {
  const server = await start({ servedModelName });
  const { scheduler } = server;
  try {
    const slow = await unread(server, LONG);
    await filled(server);
    assert(await metric(server, "fastcache_reader_pauses_total") > 0);
    const generated = scheduler.metrics.generatedTokens;
    assert(generated < TOKENS);
    const prompt = { kind: "text", text: LONG.prompt, param: "prompt" } as const;
    const others = await Promise.all(
      [1, 2, 3].map(() => answerTo(scheduler, requestOf("", { prompt, maxTokens: 50 }))),
    );
    assert.deepEqual(others.map(({ ids }) => ids.length), [50, 50, 50]);
    assert.equal(
      scheduler.metrics.generatedTokens,
      generated + 150,
      "the slow stream made no token meanwhile",
    );
    assert.equal(scheduler.snapshot().paused, 1);
    // A chunk a token, the one with the finish reason, and [DONE].
    assert.equal(await readOn(slow), TOKENS + 2);
    assert.equal(scheduler.snapshot().pagesUsed, 0);
  } finally {
    await server.close();
  }
});

testServer("a stream that nobody reads until the deadline gives its pages back", async (start) => {
  const server = await start({ servedModelName, readerTimeout: 300 });
  const { scheduler } = server;
  try {
    const slow = await unread(server, LONG);
    await until("the stream pauses", () => scheduler.metrics.readerPauses > 0);
    await until("the stream ends", () => scheduler.snapshot().sequences === 0);
    assert.equal(scheduler.snapshot().pagesUsed, 0);
    assert.deepEqual([scheduler.metrics.finished.failed, scheduler.metrics.finished.length], [1, 0]);
    scheduler.checkIntegrity();
    slow.close();
  } finally {
    await server.close();
  }
});
