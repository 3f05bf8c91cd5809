import assert from "node:assert/strict";
import { BODY_BYTES_MAX } from "../../../lib/core/limits.ts";
import { systemClock } from "../../../lib/core/clock.ts";
import { serve } from "../../../lib/api/serve.ts";
import { StartError } from "../../../lib/core/errors.ts";
import { scriptedApp, scriptedModel } from "../../support/scripted_scheduler.ts";

const CHAT = "/v1/chat/completions";
const good = { messages: [{ role: "user", content: "x" }] };

async function codeOf(response: Response): Promise<string> {
  const { error } = await response.json();
  assert.deepEqual(Object.keys(error), ["message", "type", "param", "code"]);
  return error.code;
}

Deno.test("models: the list and the single card carry length, root, parent and modalities", async () => {
  const { app } = scriptedApp();
  const list = await (await app.request("/v1/models")).json();
  assert.equal(list.object, "list");
  assert.equal(list.data.length, 1);
  const [card] = list.data;
  assert.equal(card.id, "scripted");
  assert.equal(card.root, "scripted");
  assert.equal(card.parent, null);
  assert.equal(card.max_model_len, scriptedModel.maxModelLen);
  assert.deepEqual(card.architecture.input_modalities, ["text", "image"]);
  assert.deepEqual(await (await app.request("/v1/models/scripted")).json(), card);
  const unknown = await app.request("/v1/models/some/other");
  assert.equal(unknown.status, 404);
  assert.equal(await codeOf(unknown), "model_not_found");
});

Deno.test("ready is 503 while loading and while draining, and health is alive throughout", async () => {
  const { app, service, scheduler, post } = scriptedApp(undefined, { load: false });
  const expectReady = async (status: number, code?: string) => {
    const response = await app.request("/ready");
    assert.equal(response.status, status);
    assert.equal((await app.request("/health")).status, 200);
    const scrape = await app.request("/metrics");
    assert.equal(scrape.status, 200);
    await scrape.body?.cancel();
    if (code === undefined) return await response.body?.cancel();
    assert.match(response.headers.get("retry-after") ?? "", /^[1-9]\d*$/);
    assert.equal(await codeOf(response), code);
  };
  await expectReady(503, "loading");
  assert.equal(await codeOf(await post(CHAT, good)), "loading");
  assert.equal(await codeOf(await app.request("/v1/models")), "loading");
  service.open({ scheduler, model: scriptedModel });
  await expectReady(200);
  service.beginDrain();
  await expectReady(503, "draining");
  assert.equal(await codeOf(await post(CHAT, good)), "draining");
  assert.equal((await app.request("/v1/models")).status, 200);
});

Deno.test("an unknown route is a JSON 404, a wrong method a 405 that names the right one", async () => {
  const { app } = scriptedApp();
  const unknown = await app.request("/v2/nothing");
  assert.equal(unknown.status, 404);
  assert.equal(await codeOf(unknown), "not_found");
  for (const [path, method, allow] of [[CHAT, "GET", "POST"], ["/v1/models", "DELETE", "GET"]]) {
    const response = await app.request(path, { method });
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), allow);
    assert.equal(await codeOf(response), "method_not_allowed");
  }
});

Deno.test("a body that does not say that it is JSON is 415", async () => {
  const { post } = scriptedApp();
  for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) {
    const response = await post(CHAT, good, { "content-type": type });
    assert.equal(response.status, 415, type);
    assert.equal(await codeOf(response), "unsupported_media_type");
  }
  assert.equal((await post(CHAT, good, { "content-type": "Application/JSON; charset=utf-8" })).status, 200);
});

Deno.test("a body that is not UTF-8 is not JSON", async () => {
  const { app } = scriptedApp();
  const response = await app.request(CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: new Uint8Array([0x22, 0xff, 0x22]), // "\xff", a string but for its encoding
  });
  assert.equal(response.status, 400);
  assert.equal(await codeOf(response), "invalid_json");
});

Deno.test("a body that says that it is too large is 413 before it is read", async () => {
  const { app } = scriptedApp();
  const response = await app.request(CHAT, {
    method: "POST",
    headers: { "content-type": "application/json", "content-length": String(BODY_BYTES_MAX + 1) },
    body: new ReadableStream({ pull: () => assert.fail("the body was read") }, { highWaterMark: 0 }),
  });
  assert.equal(response.status, 413);
  assert.equal(await codeOf(response), "payload_too_large");
});

Deno.test("a body of unknown length is 413 as soon as it is too large", async () => {
  const { app } = scriptedApp();
  const chunk = new Uint8Array(1 << 20).fill(0x20);
  let sent = 0;
  let cancelled = false;
  const response = await app.request(CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: new ReadableStream({
      pull(controller) {
        sent += chunk.length;
        controller.enqueue(chunk);
      },
      cancel: () => void (cancelled = true),
    }, { highWaterMark: 0 }),
  });
  assert.equal(response.status, 413);
  assert.equal(await codeOf(response), "payload_too_large");
  assert.equal(sent, BODY_BYTES_MAX + chunk.length);
  assert.equal(cancelled, true);
});

Deno.test("with keys every route but the probes and metrics asks for one", async () => {
  const { app, post } = scriptedApp(undefined, { options: { apiKeys: ["one", "two"] } });
  const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
  for (const key of ["one", "two"]) assert.equal((await post(CHAT, good, bearer(key))).status, 200);
  for (const headers of [{}, bearer("on"), bearer("onee"), bearer(""), { authorization: "Basic one" }]) {
    const response = await post(CHAT, good, headers);
    assert.equal(response.status, 401);
    assert.equal(response.headers.get("www-authenticate"), "Bearer");
    assert.equal(response.headers.get("x-should-retry"), "false");
    assert.equal(await codeOf(response), "invalid_api_key");
  }
  assert.equal((await app.request("/v1/models")).status, 401);
  for (const path of ["/health", "/ready", "/metrics"]) {
    const response = await app.request(path);
    assert.equal(response.status, 200, path);
    await response.body?.cancel();
  }
});

Deno.test("only pages of allowed origins may call, and preflights need no key", async () => {
  const origin = "https://page.example";
  const { app, post } = scriptedApp(undefined, { options: { allowedOrigins: [origin], apiKeys: ["k"] } });
  const preflight = await app.request(CHAT, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
  assert.match(preflight.headers.get("access-control-allow-headers") ?? "", /authorization/);
  const allowed = await post(CHAT, { ...good, stream: true }, { origin, authorization: "Bearer k" });
  assert.equal(allowed.headers.get("access-control-allow-origin"), origin);
  await allowed.body?.cancel();
  const other = await post(CHAT, good, { origin: "https://other.example", authorization: "Bearer k" });
  assert.equal(other.headers.get("access-control-allow-origin"), null);
  const closed = await scriptedApp().post(CHAT, good, { origin });
  assert.equal(closed.headers.get("access-control-allow-origin"), null);
});

Deno.test("x-request-id is taken if it is sound, made if not, and stands in the log and the request", async () => {
  const { post, lines, scheduler } = scriptedApp();
  const mine = await post(CHAT, good, { "x-request-id": "trace:42" });
  assert.equal(mine.headers.get("x-request-id"), "trace:42");
  await mine.text();
  for (const [index, bad] of ["two words", "x".repeat(129)].entries()) {
    const response = await post(CHAT, good, { "x-request-id": bad });
    await response.text();
    const made = response.headers.get("x-request-id") ?? "";
    assert.match(made, /^req-[0-9a-f]{24}$/);
    assert.equal(lines[index + 1].id, made);
    assert.equal(scheduler.requests[index + 1].id, made);
  }
  assert.equal(lines[0].id, "trace:42");
});

Deno.test("the access log has one line per request, none for probes, with tokens where there are some", async () => {
  const { app, post, lines } = scriptedApp();
  for (const path of ["/health?secret=1", "/ready", "/metrics"]) await (await app.request(path)).text();
  await app.request("/v1/models?secret=1");
  await (await post(CHAT, good)).text();
  await post(CHAT, "{");
  assert.deepEqual(lines.map(({ ms: _, id: __, ...line }) => line), [
    {
      method: "GET",
      path: "/v1/models",
      status: 200,
      prompt_tokens: undefined,
      completion_tokens: undefined,
      end: undefined,
    },
    { method: "POST", path: CHAT, status: 200, prompt_tokens: 4, completion_tokens: 2, end: "stop" },
    {
      method: "POST",
      path: CHAT,
      status: 400,
      prompt_tokens: undefined,
      completion_tokens: undefined,
      end: "invalid_json",
    },
  ]);
});

Deno.test("serve: a port in use is one clear line", async () => {
  const first = serve(() => new Response("ok"), { hostname: "127.0.0.1", port: 0 }, systemClock);
  try {
    const port = Number(new URL(first.url).port);
    assert.throws(
      () => serve(() => new Response("ok"), { hostname: "127.0.0.1", port }, systemClock),
      (error) => error instanceof StartError && /port is in use/.test(error.message),
    );
    assert.equal(await (await fetch(first.url)).text(), "ok");
  } finally {
    assert.equal(await first.close(1000), true);
  }
});

Deno.test("serve: close gives up on a reader that does not read", async () => {
  const gate = Promise.withResolvers<void>();
  const server = serve(async () => (await gate.promise, new Response("late")), {
    hostname: "127.0.0.1",
    port: 0,
  }, systemClock);
  const answered = fetch(server.url);
  // The request has to be on its way before the server is asked to close.
  await new Promise<void>((resolve) => systemClock.after(20, resolve));
  assert.equal(await server.close(10), false);
  gate.resolve();
  assert.equal(await (await answered).text(), "late");
});
