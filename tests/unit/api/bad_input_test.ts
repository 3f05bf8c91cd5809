import assert from "node:assert/strict";
import { IMAGES_PER_REQUEST_MAX, MESSAGES_MAX, PROMPT_CHARACTERS_MAX } from "../../../lib/core/limits.ts";
import { scriptedApp } from "../../support/scripted_scheduler.ts";

const user = (content: unknown) => [{ role: "user", content }];
const picture = (url: unknown) => user([{ type: "text", text: "?" }, { type: "image_url", image_url: url }]);
const chat = (fields: Record<string, unknown>) => ({ messages: user("x"), ...fields });

/** Body, code, param. */
type Row = readonly [unknown, string, string | null];

const CHAT_ROWS: Readonly<Record<string, Row>> = {
  "malformed JSON": ['{"messages": [', "invalid_json", null],
  "an empty body": ["", "invalid_json", null],
  "an array": [[], "invalid_type", null],
  "null": ["null", "invalid_type", null],
  "no messages": [{}, "missing_required_parameter", "messages"],
  "null messages": [{ messages: null }, "missing_required_parameter", "messages"],
  "empty messages": [{ messages: [] }, "invalid_value", "messages"],
  "messages that are text": [{ messages: "hi" }, "invalid_type", "messages"],
  "a message that is text": [{ messages: ["hi"] }, "invalid_type", "messages[0]"],
  "no role": [{ messages: [{ content: "x" }] }, "missing_required_parameter", "messages[0].role"],
  "an unknown role": [{ messages: [{ role: "king", content: "x" }] }, "invalid_value", "messages[0].role"],
  "a tool's message": [
    { messages: [{ role: "tool", content: "x" }] },
    "unsupported_value",
    "messages[0].role",
  ],
  "tool calls": [
    { messages: [{ role: "assistant", content: "x", tool_calls: [{}] }] },
    "unsupported_parameter",
    "messages[0].tool_calls",
  ],
  "no content": [{ messages: [{ role: "user" }] }, "missing_required_parameter", "messages[0].content"],
  "content that is a number": [{ messages: user(5) }, "invalid_type", "messages[0].content"],
  "no parts": [{ messages: user([]) }, "invalid_value", "messages[0].content"],
  "a part that is text": [{ messages: user(["x"]) }, "invalid_type", "messages[0].content[0]"],
  "an unknown part": [
    { messages: user([{ type: "smell" }]) },
    "invalid_value",
    "messages[0].content[0].type",
  ],
  "a sound": [
    { messages: user([{ type: "input_audio" }]) },
    "unsupported_value",
    "messages[0].content[0].type",
  ],
  "a text part without text": [
    { messages: user([{ type: "text" }]) },
    "missing_required_parameter",
    "messages[0].content[0].text",
  ],
  "a second message gone wrong": [
    { messages: [...user("x"), { role: "user", content: [{ type: "text", text: 1 }] }] },
    "invalid_type",
    "messages[1].content[0].text",
  ],
  "a picture without URL": [
    { messages: picture({}) },
    "missing_required_parameter",
    "messages[0].content[1].image_url.url",
  ],
  "no image_url": [
    { messages: picture(undefined) },
    "missing_required_parameter",
    "messages[0].content[1].image_url",
  ],
  "an image_url that is a number": [
    { messages: picture(4) },
    "invalid_type",
    "messages[0].content[1].image_url",
  ],
  "a URL that is a number": [
    { messages: picture({ url: 4 }) },
    "invalid_type",
    "messages[0].content[1].image_url.url",
  ],
  "an unknown detail": [
    { messages: picture({ url: "data:image/png;base64,AQID", detail: "huge" }) },
    "invalid_value",
    "messages[0].content[1].image_url.detail",
  ],
  "broken base64": [
    { messages: picture({ url: "data:image/png;base64,????" }) },
    "invalid_base64_image",
    "messages[0].content[1].image_url.url",
  ],
  "a zero-byte picture": [
    { messages: picture({ url: "data:image/png;base64," }) },
    "empty_image_file",
    "messages[0].content[1].image_url.url",
  ],
  "a data URL of text": [
    { messages: picture({ url: "data:text/plain;base64,AQID" }) },
    "unsupported_image_media_type",
    "messages[0].content[1].image_url.url",
  ],
  "a file URL": [
    { messages: picture({ url: "file:///etc/passwd" }) },
    "invalid_image_url",
    "messages[0].content[1].image_url.url",
  ],
  "a host that is not allowed": [
    { messages: picture("https://pictures.example/a.png") },
    "media_not_allowed",
    "messages[0].content[1].image_url",
  ],
  "a picture from the assistant": [
    {
      messages: [{
        role: "assistant",
        content: [{ type: "image_url", image_url: "data:image/png;base64,AQID" }],
      }],
    },
    "invalid_value",
    "messages[0].content[0].image_url",
  ],
  "too many pictures": [
    {
      messages: user(
        Array(IMAGES_PER_REQUEST_MAX + 1).fill({
          type: "image_url",
          image_url: "data:image/png;base64,AQID",
        }),
      ),
    },
    "invalid_value",
    `messages[0].content[${IMAGES_PER_REQUEST_MAX}].image_url`,
  ],
  "too many messages": [
    { messages: Array(MESSAGES_MAX + 1).fill(user("x")[0]) },
    "invalid_value",
    "messages",
  ],
  "too many parts": [
    { messages: user(Array(MESSAGES_MAX + 1).fill({ type: "text", text: "" })) },
    "invalid_value",
    "messages[0].content",
  ],
  "too many characters": [
    { messages: user("x".repeat(PROMPT_CHARACTERS_MAX + 1)) },
    "context_length_exceeded",
    "messages",
  ],
  "an unknown model": [chat({ model: "other" }), "model_not_found", "model"],
  "a model that is a number": [chat({ model: 3 }), "invalid_type", "model"],
  "stream that is text": [chat({ stream: "yes" }), "invalid_type", "stream"],
  "temperature that is text": [chat({ temperature: "hot" }), "invalid_type", "temperature"],
  "temperature above 2": [chat({ temperature: 2.1 }), "invalid_value", "temperature"],
  "negative temperature": [chat({ temperature: -0.1 }), "invalid_value", "temperature"],
  "temperature beyond all numbers": ['{"messages":[],"temperature":1e999}', "invalid_type", "temperature"],
  "top_p above 1": [chat({ top_p: 1.5 }), "invalid_value", "top_p"],
  "top_k below -1": [chat({ top_k: -2 }), "invalid_value", "top_k"],
  "top_k that is no whole number": [chat({ top_k: 1.5 }), "invalid_type", "top_k"],
  "min_p above 1": [chat({ min_p: 2 }), "invalid_value", "min_p"],
  "a seed that is no whole number": [chat({ seed: 0.5 }), "invalid_type", "seed"],
  "a seed beyond 64 bits": [chat({ seed: 2 ** 70 }), "invalid_value", "seed"],
  "max_tokens 0": [chat({ max_tokens: 0 }), "invalid_value", "max_tokens"],
  "negative max_completion_tokens": [
    chat({ max_completion_tokens: -1 }),
    "invalid_value",
    "max_completion_tokens",
  ],
  "five stop strings": [chat({ stop: ["a", "b", "c", "d", "e"] }), "invalid_value", "stop"],
  "an empty stop string": [chat({ stop: ["a", ""] }), "invalid_value", "stop[1]"],
  "a stop that is a number": [chat({ stop: 1 }), "invalid_type", "stop"],
  "a long stop string": [chat({ stop: "x".repeat(257) }), "invalid_value", "stop"],
  "top_logprobs above 20": [chat({ logprobs: true, top_logprobs: 21 }), "invalid_value", "top_logprobs"],
  "top_logprobs without logprobs": [chat({ top_logprobs: 2 }), "invalid_value", "top_logprobs"],
  "logprobs that is a number": [chat({ logprobs: 1 }), "invalid_type", "logprobs"],
  "an unknown compression method": [
    chat({ kv_compression: { method: "zip", ratio: 0.5 } }),
    "invalid_value",
    "kv_compression.method",
  ],
  "a negative ratio": [
    chat({ kv_compression: { method: "knorm", ratio: -0.5 } }),
    "invalid_value",
    "kv_compression.ratio",
  ],
  "a ratio of 1": [
    chat({ kv_compression: { method: "knorm", ratio: 1 } }),
    "invalid_value",
    "kv_compression.ratio",
  ],
  "a mean of no whole number": [
    chat({ kv_compression: { method: "mean-pool", ratio: 0.6 } }),
    "invalid_value",
    "kv_compression.ratio",
  ],
  "no method": [
    chat({ kv_compression: { ratio: 0.5 } }),
    "missing_required_parameter",
    "kv_compression.method",
  ],
  "a compression field of another name": [
    chat({ kv_compression: { method: "knorm", ratio: 0.5, window: 4 } }),
    "unsupported_parameter",
    "kv_compression.window",
  ],
  "a slip in the name of a compression field": [
    chat({ kv_compression: { methd: "knorm", ratio: 0.5 } }),
    "unsupported_parameter",
    "kv_compression.methd",
  ],
  "a ratio that is text": [
    chat({ kv_compression: { method: "knorm", ratio: "half" } }),
    "invalid_type",
    "kv_compression.ratio",
  ],
  "a short form that is no number": [
    chat({ kv_compression: "knorm:much" }),
    "invalid_value",
    "kv_compression",
  ],
  "a compression that is a list": [chat({ kv_compression: [] }), "invalid_type", "kv_compression"],
};

const COMPLETION_ROWS: Readonly<Record<string, Row>> = {
  "no prompt": [{}, "missing_required_parameter", "prompt"],
  "a prompt that is an object": [{ prompt: {} }, "invalid_type", "prompt"],
  "no ids": [{ prompt: [] }, "invalid_value", "prompt"],
  "no ids in a list": [{ prompt: [[]] }, "invalid_value", "prompt[0]"],
  "two prompts": [{ prompt: ["a", "b"] }, "unsupported_parameter", "prompt"],
  "two lists of ids": [{ prompt: [[1], [2]] }, "unsupported_parameter", "prompt"],
  "a mixture": [{ prompt: [1, "a"] }, "invalid_type", "prompt[1]"],
  "a list of truths": [{ prompt: [true] }, "invalid_type", "prompt[0]"],
  "an id beyond the vocabulary": [{ prompt: [1, 1000] }, "invalid_value", "prompt[1]"],
  "a negative id": [{ prompt: [[-1]] }, "invalid_value", "prompt[0][0]"],
  "half an id": [{ prompt: [1.5] }, "invalid_type", "prompt[0]"],
  "too many ids": [{ prompt: Array(128).fill(1) }, "context_length_exceeded", "prompt"],
  "logprobs that is a truth": [{ prompt: "x", logprobs: true }, "invalid_type", "logprobs"],
};

const STATUS: Readonly<Record<string, number>> = { model_not_found: 404, media_not_allowed: 403 };

for (
  const [path, rows] of [["/v1/chat/completions", CHAT_ROWS], ["/v1/completions", COMPLETION_ROWS]] as const
) {
  Deno.test(`bad input: every row of ${path} has its status, code, param and path in the message`, async (t) => {
    const { post, scheduler } = scriptedApp();
    for (const [name, [body, code, param]] of Object.entries(rows)) {
      await t.step(name, async () => {
        const response = await post(path, body);
        const { error } = await response.json();
        assert.equal(error.code, code, error.message);
        assert.equal(response.status, STATUS[code] ?? 400);
        assert.equal(error.param, param);
        if (param !== null && code.startsWith("invalid_") && !code.includes("image")) {
          assert.ok(error.message.includes(`'${param}'`), error.message);
        }
        assert.equal(scheduler.requests.length, 0);
      });
    }
  });
}

/** Elements of a body's arrays that may be read before it is refused: a handful, not millions. */
const READS_MAX = 16;

/** Counts what becomes of bodies while it is in scope: how often they are parsed, and elements of their arrays that are read. */
class Work implements Disposable {
  parses = 0;
  reads = 0;
  readonly #parse = JSON.parse;

  constructor() {
    JSON.parse = (text: string) => {
      this.parses++;
      return this.#watched(this.#parse(text));
    };
  }

  [Symbol.dispose](): void {
    JSON.parse = this.#parse;
  }

  #watched(value: unknown): unknown {
    if (typeof value !== "object" || value === null) return value;
    return new Proxy(value, {
      get: (target, name) => {
        if (Array.isArray(target) && typeof name === "string" && /^\d/.test(name)) this.reads++;
        return this.#watched(Reflect.get(target, name));
      },
    });
  }
}

Deno.test("bad input: millions of small things are refused before they are parsed, or at the first that is wrong", async () => {
  const { post } = scriptedApp();
  const few = `[${"1,".repeat(1_500_000)}1]`; // 3 MB: parsed, then refused at the first bad element
  const many = `[${"[],".repeat(5_000_000)}1]`; // 15 MB of brackets: refused before it is parsed
  const escapes = `{"a":"${'\\"'.repeat(3_000_000)}"`; // 6 MB of one string that never ends well
  const rows: readonly (readonly [path: string, body: string, status: number, parses: number])[] = [
    ["/v1/chat/completions", `{"messages":${few}}`, 400, 1],
    ["/v1/chat/completions", `{"messages":[{"role":"user","content":${few}}]}`, 400, 1],
    ["/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}],"stop":${few}}`, 400, 1],
    ["/v1/completions", `{"prompt":${few}}`, 400, 1],
    ["/v1/completions", `{"prompt":${many}}`, 413, 0],
    ["/v1/completions", "[".repeat(20_000_000), 413, 0],
    ["/v1/completions", escapes, 400, 1],
    ["/v1/completions", `{${'"":1,'.repeat(4_000_000)}"":1}`, 413, 0],
  ];
  for (const [path, body, status, parses] of rows) {
    using work = new Work();
    const response = await post(path, body);
    assert.equal(response.status, status, body.slice(0, 60));
    await response.body?.cancel();
    assert.equal(work.parses, parses, body.slice(0, 60));
    assert.ok(work.reads <= READS_MAX, `${body.slice(0, 60)}: ${work.reads} elements read`);
  }
});
