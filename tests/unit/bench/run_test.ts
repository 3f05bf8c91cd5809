/** The load generator against a real HTTP server that answers by a script. */
import assert from "node:assert/strict";
import { sleep, systemClock } from "../../../lib/core/clock.ts";
import { LoadClient } from "../../../bench/load/client.ts";
import { figuresOf } from "../../../bench/load/figures.ts";
import { encodeRequest, type LoadRequest } from "../../../bench/load/request.ts";
import { type Loop, runLoad } from "../../../bench/load/run.ts";

const REQUEST: LoadRequest = {
  group: "g",
  messages: [{ role: "user", content: "hello" }],
  maxTokens: 5,
  fixedLength: false,
  score: (said) => said === "hi there" ? 1 : 0,
};
const NO_TARGETS = { ttftMs: null, tpotMs: null, endToEndMs: null };

const frame = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const ANSWER = [
  frame({ choices: [{ delta: { content: "hi" }, finish_reason: null }] }),
  frame({ choices: [{ delta: { content: " there" }, finish_reason: "stop" }] }),
  frame({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } }),
  "data: [DONE]\n\n",
].join("");

/** Serves `answer` and closes each connection behind its stream, as some servers do. */
async function withServer(
  answer: (index: number, request: Request) => Response | Promise<Response>,
  use: (client: LoadClient) => Promise<void>,
): Promise<void> {
  let index = 0;
  // Ended by its signal: requests that are never answered would hold a graceful end up.
  const end = new AbortController();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, signal: end.signal, onListen: () => {} },
    (request) => answer(index++, request),
  );
  {
    using client = new LoadClient(
      { url: `http://127.0.0.1:${server.addr.port}`, apiKey: "k" },
      systemClock,
    );
    await use(client);
  }
  end.abort();
  await server.finished;
}

async function load(client: LoadClient, count: number, loop: Loop, limits = {}) {
  const requests = Array.from({ length: count }, () => REQUEST);
  const bodies = requests.map((request) =>
    encodeRequest(request, { model: "m", timings: false, fields: {} })
  );
  const run = await runLoad(client, bodies, {
    loop,
    connectionsMax: 8,
    timeoutMs: 5000,
    stop: new AbortController().signal,
    watch: () => {},
    ...limits,
  }, systemClock);
  return { run, figures: figuresOf(run, requests, loop.kind, NO_TARGETS) };
}

Deno.test("runLoad sends every request of a closed loop once, with so many clients", async () => {
  let now = 0, most = 0;
  await withServer(async (_, request) => {
    most = Math.max(most, ++now);
    const body = await request.json();
    assert.equal(request.headers.get("authorization"), "Bearer k");
    assert.deepEqual([body.model, body.stream, body.max_tokens], ["m", true, 5]);
    await sleep(systemClock, 5);
    now--;
    return new Response(ANSWER, { headers: { connection: "close" } });
  }, async (client) => {
    const { run, figures } = await load(client, 9, { kind: "closed", clients: 3 });
    assert.deepEqual(run.sent.map(({ index }) => index).sort((a, b) => a - b), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert.deepEqual([figures.answered, figures.errors, figures.right, figures.completionTokens], [
      9,
      0,
      1,
      18,
    ]);
    assert.equal(most, 3);
    assert.equal(run.inFlightMax, 3);
  });
});

Deno.test("figuresOf counts refusals, errors by code and broken streams apart", async () => {
  const answers = [
    () => new Response(ANSWER),
    () => new Response(JSON.stringify({ error: { code: "queue_full" } }), { status: 429 }),
    () => new Response("busy", { status: 503 }),
    () => new Response(JSON.stringify({ error: { code: "internal" } }), { status: 500 }),
    () => new Response(ANSWER.slice(0, 70)),
  ];
  await withServer((index) => answers[index](), async (client) => {
    const { figures } = await load(client, 5, { kind: "closed", clients: 1 });
    assert.deepEqual([figures.answered, figures.refused, figures.errors], [1, 2, 2]);
    assert.deepEqual(figures.codes, {
      "429 queue_full": 1,
      "503": 1,
      "500 internal": 1,
      "stream cut_off": 1,
    });
  });
});

Deno.test("an open loop counts latency from the due time when connections are too few, and says how late it was", async () => {
  await withServer(async () => {
    await sleep(systemClock, 40);
    return new Response(ANSWER);
  }, async (client) => {
    const loop = { kind: "open", timesMs: new Float64Array(3) } as const;
    const { run, figures } = await load(client, 3, loop, { connectionsMax: 1 });
    assert.equal(run.inFlightMax, 1);
    const last = run.sent.find(({ index }) => index === 2)!;
    assert.ok(last.sentMs - last.dueMs >= 79, `sent ${last.sentMs} ms after it was due`);
    assert.ok(figures.ttftMs.max >= 119, `${figures.ttftMs.max} ms`);
    assert.ok(figures.latenessMs.max >= 79);
  });
});

Deno.test("a stopped run gives up what is in flight and keeps what has ended", async () => {
  const stop = new AbortController();
  await withServer((index) => {
    if (index > 0) return new Promise(() => {});
    return new Response(ANSWER);
  }, async (client) => {
    const watch = (sent: unknown) => {
      if (sent !== null) systemClock.after(10, () => stop.abort());
    };
    const { figures } = await load(client, 5, { kind: "closed", clients: 2 }, { stop: stop.signal, watch });
    assert.equal(figures.answered, 1);
    assert.ok(figures.abandoned >= 1 && figures.requests < 5, `${figures.requests} were sent`);
  });
});

Deno.test("a request over its time is an error with the code timeout", async () => {
  await withServer(() => new Promise(() => {}), async (client) => {
    const { figures } = await load(client, 1, { kind: "closed", clients: 1 }, { timeoutMs: 30 });
    assert.deepEqual(figures.codes, { timeout: 1 });
  });
});
