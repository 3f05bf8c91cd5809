import assert from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import { KEEP_ALIVE_MS } from "../../../lib/core/limits.ts";
import { STATUS_WAIT_MS } from "../../../lib/api/body_stream.ts";
import { serve } from "../../../lib/api/serve.ts";
import { type Clock, systemClock } from "../../../lib/core/clock.ts";
import type { GenerateEvent } from "../../../scheduler/messages.ts";
import { finished, framesOf, hello, scriptedApp } from "../../support/scripted_scheduler.ts";

const PATH = "/v1/chat/completions";
const body = { messages: [{ role: "user", content: "x" }], stream: true };
const admitted: GenerateEvent = { type: "admitted", promptTokenIds: [1] };

/** A clock whose timers run when the test says so. */
class HandClock implements Clock {
  readonly #timers = new Map<number, { due: number; run: () => void }>();
  #now = 0;
  #next = 0;

  now(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const id = this.#next++;
    this.#timers.set(id, { due: this.#now + delayMs, run });
    return () => this.#timers.delete(id);
  }

  /** Lets everything that can happen happen, then moves time on. */
  async advance(ms: number): Promise<void> {
    await settle();
    this.#now += ms;
    for (const [id, timer] of [...this.#timers]) {
      if (timer.due > this.#now) continue;
      this.#timers.delete(id);
      timer.run();
    }
    await settle();
  }
}

/** One turn of the event loop: every promise that could settle has. */
function settle(): Promise<void> {
  return new Promise((resolve) => systemClock.after(0, resolve));
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    assert.ok(turn < 2000, "the awaited condition did not come true");
    await new Promise<void>((resolve) => systemClock.after(1, resolve));
  }
}

Deno.test("stream: an error before the first token is a status, not a stream", async () => {
  const { post, lines } = scriptedApp(async function* () {
    yield await Promise.resolve(admitted);
    yield { type: "failed", error: new RequestError("image_parse_error", "The picture is cut off.", "p") };
  });
  const response = await post(PATH, body);
  assert.equal(response.status, 400);
  assert.deepEqual(await response.json(), {
    error: {
      message: "The picture is cut off.",
      type: "invalid_request_error",
      param: "p",
      code: "image_parse_error",
    },
  });
  assert.equal(lines.length, 1);
  assert.equal(lines[0].status, 400);
  assert.equal(lines[0].end, "image_parse_error");
});

Deno.test("stream: a full queue is refused at once with 429 and Retry-After", async () => {
  const { post } = scriptedApp(() => {
    throw new RequestError("rate_limit_exceeded", "Too many requests wait.", null, 2.5);
  });
  for (const stream of [true, false]) {
    const response = await post(PATH, { ...body, stream });
    assert.equal(response.status, 429);
    assert.equal(response.headers.get("retry-after"), "3");
    assert.equal(response.headers.get("x-should-retry"), "true");
    assert.equal((await response.json()).error.type, "rate_limit_error");
  }
});

Deno.test("stream: an error after the first token is a frame, and the stream ends without [DONE]", async () => {
  const { post, lines } = scriptedApp(async function* () {
    yield await Promise.resolve(admitted);
    yield { type: "token", id: 1, text: "a", logprob: null };
    yield { type: "failed", error: new RequestError("engine_failed", "The step failed.") };
  });
  const response = await post(PATH, body);
  assert.equal(response.status, 200);
  const frames = await framesOf(response);
  assert.equal(frames.length, 2);
  assert.deepEqual(frames[1], {
    error: { message: "The step failed.", type: "server_error", param: null, code: "engine_failed" },
  });
  assert.equal(lines.length, 1);
  assert.equal(lines[0].end, "engine_failed");
  assert.equal(lines[0].completion_tokens, 1);
});

Deno.test("stream: silence opens the stream and comments come until the first token", async () => {
  const clock = new HandClock();
  const gate = Promise.withResolvers<void>();
  const { post } = scriptedApp(async function* () {
    await gate.promise;
    yield* hello();
  }, { clock });
  let response: Response | null = null;
  const answered = post(PATH, body).then((value) => response = value);
  await clock.advance(STATUS_WAIT_MS - 1);
  assert.equal(response, null, "nothing is decided before the wait is over");
  await clock.advance(1);
  const frames = framesOf(await answered);
  await clock.advance(KEEP_ALIVE_MS);
  gate.resolve();
  const received = await frames;
  assert.deepEqual(received.slice(0, 2), [": keep-alive", ": keep-alive"]);
  assert.equal(received.at(-1), "[DONE]");
  assert.equal(received.length, 2 + 4);
});

Deno.test("stream: an error after a comment travels in the stream", async () => {
  const clock = new HandClock();
  const gate = Promise.withResolvers<void>();
  const { post } = scriptedApp(async function* () {
    await gate.promise;
    yield { type: "failed", error: new RequestError("context_length_exceeded", "Too long.", "messages") };
  }, { clock });
  const answered = post(PATH, body);
  await clock.advance(STATUS_WAIT_MS);
  const response = await answered;
  gate.resolve();
  const frames = await framesOf(response);
  assert.equal(response.status, 200);
  assert.equal(frames[0], ": keep-alive");
  assert.equal((frames[1] as { error: { code: string } }).error.code, "context_length_exceeded");
  assert.equal(frames.length, 2);
});

Deno.test("whole: an answer that takes long writes nothing before its JSON", async () => {
  const clock = new HandClock();
  const gate = Promise.withResolvers<void>();
  const { post, lines } = scriptedApp(async function* () {
    yield await Promise.resolve(admitted);
    await gate.promise;
    yield* hello();
  }, { clock });
  const answered = post(PATH, { ...body, stream: false });
  await clock.advance(STATUS_WAIT_MS);
  const response = await answered;
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  const pieces: Uint8Array[] = [];
  const read = response.body!.pipeTo(new WritableStream({ write: (piece) => void pieces.push(piece) }));
  await clock.advance(2 * KEEP_ALIVE_MS);
  assert.equal(pieces.length, 0);
  assert.equal(lines.length, 0);
  gate.resolve();
  await read;
  assert.equal(pieces.length, 1);
  assert.equal(JSON.parse(new TextDecoder().decode(pieces[0])).choices[0].message.content, "Hello");
  assert.deepEqual(lines.map(({ status, end, ms }) => [status, end, ms]), [
    [200, "stop", STATUS_WAIT_MS + 2 * KEEP_ALIVE_MS],
  ]);
});

Deno.test("whole: an error after the status is the error's body", async () => {
  const clock = new HandClock();
  const gate = Promise.withResolvers<void>();
  const { post, lines } = scriptedApp(async function* () {
    await gate.promise;
    yield { type: "failed", error: new RequestError("engine_failed", "The step failed.") };
  }, { clock });
  const answered = post(PATH, { ...body, stream: false });
  await clock.advance(STATUS_WAIT_MS);
  const response = await answered;
  gate.resolve();
  assert.equal(response.status, 200);
  assert.equal((await response.json()).error.code, "engine_failed");
  assert.equal(lines[0].end, "engine_failed");
});

Deno.test("whole: cancelling the body of a waiting answer cancels the request", async () => {
  const clock = new HandClock();
  const { post, scheduler, lines } = scriptedApp(untilAborted, { clock });
  const answered = post(PATH, { ...body, stream: false });
  await clock.advance(STATUS_WAIT_MS);
  await (await answered).body!.cancel();
  assert.equal(scheduler.cancelled, 1);
  assert.equal(lines.length, 1);
  assert.equal(lines[0].end, "disconnected");
});

Deno.test("stream: an unexpected exception says nothing of the inside", async () => {
  const { post } = scriptedApp(async function* () {
    yield await Promise.resolve(admitted);
    throw new TypeError("secret of the house");
  });
  for (const stream of [true, false]) {
    const response = await post(PATH, { ...body, stream });
    assert.equal(response.status, 500);
    const text = await response.text();
    assert.ok(!text.includes("secret"), text);
    assert.equal(JSON.parse(text).error.code, "internal_error");
  }
});

Deno.test("stream: no more events are taken than the reader reads", async () => {
  let made = 0;
  const { post } = scriptedApp(async function* () {
    yield await Promise.resolve(admitted);
    for (;; made++) yield { type: "token", id: 1, text: "a", logprob: null };
  });
  const response = await post(PATH, body);
  const reader = response.body!.getReader();
  for (let i = 0; i < 3; i++) await reader.read();
  await settle();
  // The app passes its stream on unbuffered; one frame may be on its way.
  assert.ok(made <= 4, `${made} tokens were taken for 3 that were read`);
  await reader.cancel();
});

Deno.test("stream: cancelling the body cancels the request and returns its iterator", async () => {
  let returned = false;
  const { post, scheduler, lines } = scriptedApp(async function* (): AsyncGenerator<GenerateEvent> {
    try {
      yield await Promise.resolve(admitted);
      for (;;) yield { type: "token", id: 1, text: "a", logprob: null };
    } finally {
      returned = true;
    }
  });
  const response = await post(PATH, body);
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  assert.equal(scheduler.cancelled, 1);
  assert.equal(returned, true);
  assert.equal(lines.length, 1);
  assert.equal(lines[0].end, "disconnected");
  assert.equal(lines[0].completion_tokens, 1);
});

Deno.test("a request that the server itself ends while it shuts down is 503 draining", async () => {
  const { post } = scriptedApp(async function* () {
    yield await Promise.resolve({ type: "cancelled" as const });
  });
  for (const stream of [true, false]) {
    const response = await post(PATH, { ...body, stream });
    assert.equal(response.status, 503);
    assert.equal((await response.json()).error.code, "draining");
  }
});

/** Waits for the end of its request's signal, as the scheduler does when its client goes. */
async function* untilAborted(_: unknown, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
  yield admitted;
  if (!signal.aborted) {
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }
  yield { type: "cancelled" };
}

Deno.test("over the wire: a client that goes away before the first token cancels, streaming or not", async () => {
  const { app, scheduler, lines } = scriptedApp(untilAborted);
  const server = serve(app.fetch, { hostname: "127.0.0.1", port: 0 }, systemClock);
  try {
    for (const stream of [true, false]) {
      const before = scheduler.cancelled;
      const client = new AbortController();
      const answered = fetch(server.url + PATH, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ ...body, stream }),
        signal: client.signal,
      });
      await until(() => scheduler.requests.length === before + 1);
      client.abort();
      await assert.rejects(answered);
      await until(() => scheduler.cancelled === before + 1 && lines.length === before + 1);
      assert.equal(lines[before].end, "disconnected");
      assert.equal(lines[before].status, 499);
    }
  } finally {
    assert.equal(await server.close(1000), true);
  }
});

Deno.test("over the wire: a client that goes away inside a stream cancels", async () => {
  const { app, scheduler, lines } = scriptedApp(async function* (_, signal) {
    yield admitted;
    yield { type: "token", id: 1, text: "a", logprob: null };
    yield* untilAborted(_, signal);
  });
  const server = serve(app.fetch, { hostname: "127.0.0.1", port: 0 }, systemClock);
  try {
    const response = await fetch(server.url + PATH, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await until(() => scheduler.cancelled === 1 && lines.length === 1);
    assert.equal(lines[0].end, "disconnected");
    assert.equal(lines[0].status, 200);
  } finally {
    assert.equal(await server.close(1000), true);
  }
});

Deno.test("over the wire: a whole stream leaves a line with its reason and tokens", async () => {
  const { app, lines } = scriptedApp();
  const server = serve(app.fetch, { hostname: "127.0.0.1", port: 0 }, systemClock);
  try {
    const response = await fetch(server.url + PATH, {
      method: "POST",
      headers: { "content-type": "application/json", "x-request-id": "mine-1" },
      body: JSON.stringify(body),
    });
    assert.equal(response.headers.get("x-request-id"), "mine-1");
    assert.equal((await framesOf(response)).at(-1), "[DONE]");
    await until(() => lines.length === 1);
    const { ms, ...line } = lines[0];
    assert.equal(typeof ms, "number");
    assert.deepEqual(line, {
      id: "mine-1",
      method: "POST",
      path: PATH,
      status: 200,
      prompt_tokens: 4,
      completion_tokens: finished.completionTokens,
      end: "stop",
    });
  } finally {
    assert.equal(await server.close(1000), true);
  }
});
