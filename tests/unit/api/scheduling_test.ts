/** Fields that say how a request is to be scheduled, and the errors that only a scheduler makes. */
import assert from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../../../scheduler/messages.ts";
import { finished, framesOf, hello, scriptedApp } from "../../support/scripted_scheduler.ts";
import { compressionBy } from "../../support/compressions.ts";

const PATHS = {
  "/v1/chat/completions": { messages: [{ role: "user", content: "Say hello" }] },
  "/v1/completions": { prompt: "Say hello" },
} as const;

/** The request that reaches the scheduler for a body with these fields, on either path. */
async function requestFor(fields: object, headers: Record<string, string> = {}): Promise<GenerateRequest> {
  const requests = [];
  for (const [path, body] of Object.entries(PATHS)) {
    const { post, scheduler } = scriptedApp();
    const response = await post(path, { ...body, ...fields }, headers);
    assert.equal(response.status, 200, await response.text());
    requests.push(scheduler.requests[0]);
  }
  const [chat, plain] = requests.map(({ priority, cacheSalt, tenant, compression }) => ({
    priority,
    cacheSalt,
    tenant,
    compression,
  }));
  assert.deepEqual(plain, chat);
  return requests[0];
}

async function refusalOf(fields: object): Promise<{ code: string; param: string }> {
  const { post } = scriptedApp();
  const response = await post("/v1/chat/completions", { ...PATHS["/v1/chat/completions"], ...fields });
  assert.equal(response.status, 400);
  const { error: { code, param } } = await response.json();
  return { code, param };
}

/** The answer to a request that the scheduler fails before its first token. */
async function failureOf(error: RequestError): Promise<Response> {
  const { post } = scriptedApp(async function* (): AsyncGenerator<GenerateEvent> {
    yield await Promise.resolve({ type: "failed", error });
  });
  return await post("/v1/chat/completions", PATHS["/v1/chat/completions"]);
}

Deno.test("scheduling: priority and cache_salt reach the scheduler and are neutral when absent", async () => {
  const { priority, cacheSalt } = await requestFor({ priority: -3, cache_salt: "mine" });
  assert.deepEqual([priority, cacheSalt], [-3, "mine"]);
  for (const fields of [{}, { priority: null, cache_salt: null }]) {
    const plain = await requestFor(fields);
    assert.deepEqual([plain.priority, plain.cacheSalt], [0, ""]);
  }
});

Deno.test("scheduling: a priority out of range or no whole number is refused, and an empty salt", async () => {
  for (const priority of [1001, -1001, 0.5, "high"]) {
    assert.equal((await refusalOf({ priority })).param, "priority", String(priority));
  }
  assert.equal((await refusalOf({ cache_salt: "" })).param, "cache_salt");
  assert.equal((await refusalOf({ cache_salt: "x".repeat(100_000) })).param, "cache_salt");
});

Deno.test("scheduling: a key tells tenants apart, also on an open server, and never reaches the scheduler itself", async () => {
  const tenantOf = async (key: string) => (await requestFor({}, { authorization: `Bearer ${key}` })).tenant;
  const one = await tenantOf("one");
  assert.equal((await requestFor({})).tenant, "");
  assert.equal(await tenantOf("one"), one);
  assert.notEqual(await tenantOf("two"), one);
  assert(!one.includes("one"));
});

Deno.test("scheduling: kv_compression auto compresses when it pays or memory is short, with the ratio that is asked for", async () => {
  const compressionOf = async (kv_compression: unknown) => (await requestFor({ kv_compression })).compression;
  const auto = compressionBy("keydiff", 0.5, { underPressure: true, minTokens: 256 });
  assert.deepEqual(await compressionOf("auto"), { ...auto, adaptive: true });
  assert.deepEqual(await compressionOf({ method: "auto", ratio: null }), { ...auto, adaptive: true });
  assert.deepEqual(await compressionOf("auto:0.5"), auto);
  assert.deepEqual(await compressionOf("auto:0.75"), { ...auto, size: { ratio: 0.75 } });
  assert.deepEqual(await compressionOf({ method: "auto", ratio: 0.25 }), { ...auto, size: { ratio: 0.25 } });
  assert.equal(await compressionOf("none"), null);
  assert.equal(await compressionOf(null), undefined);
  assert.deepEqual(await refusalOf({ kv_compression: "auto:1" }), {
    code: "invalid_value",
    param: "kv_compression",
  });
  assert.deepEqual(await refusalOf({ kv_compression: { method: "auto", ratio: 0 } }), {
    code: "invalid_value",
    param: "kv_compression.ratio",
  });
});

Deno.test("scheduling: a request that waited too long is answered 503 and may come again", async () => {
  const response = await failureOf(new RequestError("queue_timeout", "It waited."));
  assert.equal(response.status, 503);
  assert.match(response.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
  assert.equal(response.headers.get("x-should-retry"), "true");
  assert.deepEqual(await response.json(), {
    error: { message: "It waited.", type: "service_unavailable_error", param: null, code: "queue_timeout" },
  });
});

Deno.test("scheduling: a refused request is told the seconds that the scheduler says", async () => {
  const { post } = scriptedApp(() => {
    throw new RequestError("rate_limit_exceeded", "Too many.", null, 17);
  });
  const response = await post("/v1/chat/completions", PATHS["/v1/chat/completions"]);
  assert.equal(response.status, 429);
  assert.equal(response.headers.get("retry-after"), "17");
  await response.body?.cancel();
});

Deno.test("scheduling: an answer that nobody read ends in an error, before its first byte and in its course", async () => {
  const error = new RequestError("reader_timeout", "Nobody read.");
  const whole = await failureOf(error);
  assert.equal(whole.status, 408);
  assert.equal((await whole.json()).error.code, "reader_timeout");
  const { post } = scriptedApp(async function* () {
    for await (const event of hello()) {
      if (event.type !== "finished") yield event;
    }
    yield { type: "failed", error };
  });
  const streamed = await post("/v1/chat/completions", { ...PATHS["/v1/chat/completions"], stream: true });
  const frames = await framesOf(streamed) as { error?: { code: string } }[];
  assert(frames.some((frame) => frame.error?.code === "reader_timeout"), JSON.stringify(frames));
});

Deno.test("scheduling: usage tells how much of the prompt was cached, whole and streamed", async () => {
  const { post } = scriptedApp(async function* () {
    for await (const event of hello()) {
      yield event.type === "finished" ? { ...finished, cachedTokens: 3 } : event;
    }
  });
  for (const [path, body] of Object.entries(PATHS)) {
    const whole = await (await post(path, body)).json();
    assert.equal(whole.usage.prompt_tokens_details.cached_tokens, 3);
    const streamed = await post(path, { ...body, stream: true, stream_options: { include_usage: true } });
    const frames = await framesOf(streamed) as { usage?: typeof whole.usage }[];
    const usage = frames.find((frame) => frame.usage)?.usage;
    assert.equal(usage?.prompt_tokens_details.cached_tokens, 3, path);
  }
});
