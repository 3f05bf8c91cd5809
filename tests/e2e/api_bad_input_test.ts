/** Bad requests against the real server: each is refused quickly and by name, and the next good one works. */
import assert from "node:assert/strict";
import { testServer } from "../support/server_test.ts";
import { pictureQuestion } from "../support/question.ts";
import { pngClaiming } from "../unit/image/samples.ts";

const CHAT = "/v1/chat/completions";
const COMPLETIONS = "/v1/completions";
/** None of the rows may take longer: one that is not refused at the door would, and machines are slow at times. */
const ROW_MS_MAX = 20_000;

const user = (content: unknown) => [{ role: "user", content }];
const chat = (fields: Record<string, unknown>) => ({ messages: user("Hello"), max_tokens: 1, ...fields });
const picture = (url: string) => ({
  messages: user([{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url } }]),
  max_tokens: 1,
});
const file = (bytes: Uint8Array) => picture(`data:image/png;base64,${bytes.toBase64()}`);

function goodPicture(): Uint8Array {
  const { url } = pictureQuestion(0).messages[0].content[0].image_url!;
  return Uint8Array.fromBase64(url.slice(url.indexOf(",") + 1));
}

const URL_PARAM = "messages[0].content[1].image_url.url";

/** Path, body (text goes as it is), code, param, status where it is not 400. */
type Row = readonly [string, unknown, string, string | null, number?];

const ROWS: Readonly<Record<string, Row>> = {
  "malformed JSON": [CHAT, '{"messages": [', "invalid_json", null],
  "an array for a body": [CHAT, [], "invalid_type", null],
  "no messages": [CHAT, {}, "missing_required_parameter", "messages"],
  "empty messages": [CHAT, { messages: [] }, "invalid_value", "messages"],
  "messages of the wrong type": [CHAT, { messages: "Hello" }, "invalid_type", "messages"],
  "an unknown role": [
    CHAT,
    { messages: [{ role: "king", content: "x" }] },
    "invalid_value",
    "messages[0].role",
  ],
  "content of the wrong type": [CHAT, { messages: user(5) }, "invalid_type", "messages[0].content"],
  "an unknown kind of part": [
    CHAT,
    { messages: user([{ type: "smell" }]) },
    "invalid_value",
    "messages[0].content[0].type",
  ],
  "an unknown model": [CHAT, chat({ model: "no-such-model" }), "model_not_found", "model", 404],
  "temperature of the wrong type": [CHAT, chat({ temperature: "hot" }), "invalid_type", "temperature"],
  "temperature out of range": [CHAT, chat({ temperature: 3 }), "invalid_value", "temperature"],
  "max_tokens 0": [CHAT, chat({ max_tokens: 0 }), "invalid_value", "max_tokens"],
  "more tokens than fit": [CHAT, chat({ max_tokens: 10_000_000 }), "context_length_exceeded", "max_tokens"],
  "a prompt that does not fit": [
    CHAT,
    { messages: user("word ".repeat(200_000)) },
    "context_length_exceeded",
    "messages",
  ],
  "a prompt that does not fit, streamed": [
    CHAT,
    { messages: user("word ".repeat(200_000)), stream: true },
    "context_length_exceeded",
    "messages",
  ],
  "too many stop strings": [CHAT, chat({ stop: ["a", "b", "c", "d", "e"] }), "invalid_value", "stop"],
  "tools": [CHAT, chat({ tools: [{ type: "function" }] }), "unsupported_parameter", "tools"],
  "a response format": [
    CHAT,
    chat({ response_format: { type: "json_object" } }),
    "unsupported_parameter",
    "response_format",
  ],
  "several answers": [CHAT, chat({ n: 2 }), "unsupported_parameter", "n"],
  "a penalty": [CHAT, chat({ frequency_penalty: 1 }), "unsupported_parameter", "frequency_penalty"],
  "an unknown compression method": [
    CHAT,
    chat({ kv_compression: { method: "zip", ratio: 0.5 } }),
    "invalid_value",
    "kv_compression.method",
  ],
  "a negative ratio": [
    CHAT,
    chat({ kv_compression: { method: "knorm", ratio: -0.5 } }),
    "invalid_value",
    "kv_compression.ratio",
  ],
  "a mean over no whole number of slots": [
    CHAT,
    chat({ kv_compression: { method: "mean-pool", ratio: 0.6 } }),
    "invalid_value",
    "kv_compression.ratio",
  ],
  "broken base64": [CHAT, picture("data:image/png;base64,!!!!"), "invalid_base64_image", URL_PARAM],
  "a zero-byte picture": [CHAT, picture("data:image/png;base64,"), "empty_image_file", URL_PARAM],
  "a picture of an unsupported media type": [
    CHAT,
    picture("data:text/html;base64,PGI+"),
    "unsupported_image_media_type",
    URL_PARAM,
  ],
  "a file of an unsupported type": [
    CHAT,
    file(new TextEncoder().encode("%PDF-1.7 not a picture at all")),
    "unsupported_image_media_type",
    URL_PARAM,
  ],
  "bytes that are no picture": [CHAT, file(new Uint8Array(64).fill(1)), "invalid_image_format", URL_PARAM],
  "a truncated PNG": [CHAT, file(goodPicture().slice(0, -200)), "image_parse_error", URL_PARAM],
  "a truncated PNG, streamed": [
    CHAT,
    { ...file(goodPicture().slice(0, -200)), stream: true },
    "image_parse_error",
    URL_PARAM,
  ],
  "a PNG of 20 000 × 20 000": [CHAT, file(pngClaiming(20_000, 20_000)), "image_too_large", URL_PARAM],
  "a picture on a host that is not allowed": [
    CHAT,
    picture("https://pictures.example/a.png"),
    "media_not_allowed",
    URL_PARAM,
    403,
  ],
  "a picture on the server's own disk": [
    CHAT,
    picture("file:///etc/hostname"),
    "invalid_image_url",
    URL_PARAM,
  ],
  "two prompts": [COMPLETIONS, { prompt: ["a", "b"] }, "unsupported_parameter", "prompt"],
  "an id beyond the vocabulary": [COMPLETIONS, { prompt: [4_000_000] }, "invalid_value", "prompt[0]"],
  "no prompt": [COMPLETIONS, {}, "missing_required_parameter", "prompt"],
  "an unknown route": ["/v1/embeddings", { input: "x" }, "not_found", null, 404],
};

/** Sends one row and checks status, code, param, shape and time. `name` says which row fails. */
async function refuse(
  base: string,
  name: string,
  [path, body, code, param, status = 400]: Row,
): Promise<void> {
  const started = performance.now();
  const response = await fetch(base + path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const { error } = await response.json();
  const tookMs = performance.now() - started;
  const got = [response.status, error.code, error.param];
  assert.deepEqual(got, [status, code, param], `${name}: ${got} ${error.message}`);
  assert.equal(response.headers.get("x-should-retry"), "false", name);
  assert.ok(tookMs < ROW_MS_MAX, `${name} took ${tookMs} ms`);
}

/** One good request, whole. */
async function succeed(base: string, body: unknown): Promise<void> {
  const response = await fetch(base + CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  assert.equal(response.status, 200, JSON.stringify(answer));
  assert.ok(answer.usage.completion_tokens >= 1);
}

testServer(
  "bad input: each row is refused by name at the door, and the next good request works",
  async (start) => {
    const server = await start();
    try {
      const good = { ...pictureQuestion(0), max_tokens: 1 };
      await succeed(server.url, good);
      for (const [name, row] of Object.entries(ROWS)) {
        await refuse(server.url, name, row);
        await succeed(server.url, good);
      }
      const snapshot = server.scheduler.snapshot();
      assert.deepEqual([snapshot.pagesUsed, snapshot.running, snapshot.waiting], [0, 0, 0]);
      server.scheduler.checkIntegrity();
    } finally {
      await server.close();
    }
  },
);

testServer("bad input: a picture for a text-only model is refused by name", async (start) => {
  const model = new URL("../fixtures/llama-text-tiny/", import.meta.url).pathname;
  const server = await start({ model });
  try {
    await refuse(server.url, "a picture", [CHAT, file(goodPicture()), "unsupported_value", URL_PARAM]);
    await succeed(server.url, { messages: user("Hello"), max_tokens: 1 });
  } finally {
    await server.close();
  }
});
