import assert from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import { PROTECTED_MESSAGES_MAX } from "../../../lib/core/limits.ts";
import type { TemplateMessage } from "../../../lib/text/text.ts";
import { messageSpans } from "../../../scheduler/protect.ts";

/** A token a letter; marks of roles are one token, a picture is three, and texts are trimmed. */
function encode(messages: readonly TemplateMessage[]): number[] {
  const ids = messages.flatMap(({ role, content }) => {
    const parts = typeof content === "string" ? [{ type: "text", text: content } as const] : content;
    const inner = parts.flatMap((part) =>
      part.type === "image" ? [500, 500, 500] : [...part.text.trim()].map((letter) => letter.charCodeAt(0))
    );
    return [1000 + role.length, ...inner, 999];
  });
  return [1, ...ids, 1001];
}

function spans(messages: readonly TemplateMessage[], ...protect: ("system" | "last_user")[]) {
  return messageSpans(messages, protect, encode(messages), encode);
}

const SYSTEM = { role: "system", content: " be brief " };
const TALK: readonly TemplateMessage[] = [
  SYSTEM,
  { role: "user", content: "hello" },
  { role: "assistant", content: "hi" },
  { role: "user", content: [{ type: "image" }, { type: "text", text: "what is it" }] },
];

Deno.test("messageSpans finds the system message without its marks, however its text is trimmed", () => {
  assert.deepEqual(spans(TALK, "system"), [{ first: 2, count: 8 }]);
});

Deno.test("messageSpans finds the user's last message with its pictures, and no earlier one", () => {
  // 1 + (1 + 8 + 1) + (1 + 5 + 1) + (1 + 2 + 1) tokens and a mark before it.
  assert.deepEqual(spans(TALK, "last_user"), [{ first: 23, count: 13 }]);
  assert.deepEqual(spans(TALK, "system", "last_user").length, 2);
});

Deno.test("messageSpans is empty where there is no such message, or nothing in it", () => {
  assert.deepEqual(spans([{ role: "user", content: "x" }], "system"), []);
  assert.deepEqual(spans([{ role: "user", content: "" }], "last_user"), []);
});

Deno.test("messageSpans is right for a message that is a letter, or begins and ends like what it is compared with", () => {
  assert.deepEqual(spans([{ role: "user", content: "x" }], "last_user"), [{ first: 2, count: 1 }]);
  assert.deepEqual(spans([{ role: "user", content: "xy" }], "last_user"), [{ first: 2, count: 2 }]);
});

Deno.test("messageSpans joins messages that stand side by side", () => {
  const bare = (messages: readonly TemplateMessage[]) =>
    messages.flatMap(({ content }) => [...content as string].map((letter) => letter.charCodeAt(0)));
  const messages = [{ role: "system", content: "ab" }, { role: "user", content: "cd" }];
  assert.deepEqual(messageSpans(messages, ["system", "last_user"], bare(messages), bare), [{
    first: 0,
    count: 4,
  }]);
});

Deno.test("messageSpans encodes once for each protected message, and refuses more of them than the limit before the first", () => {
  const talk = (systems: number) => [...new Array<TemplateMessage>(systems).fill(SYSTEM), ...TALK.slice(1)];
  let encoded = 0;
  const ask = (messages: readonly TemplateMessage[]) =>
    messageSpans(messages, ["system", "last_user"], encode(messages), (others) => {
      encoded++;
      return encode(others);
    });
  assert.equal(ask(talk(PROTECTED_MESSAGES_MAX - 1)).length, PROTECTED_MESSAGES_MAX);
  assert.equal(encoded, PROTECTED_MESSAGES_MAX);
  for (const systems of [PROTECTED_MESSAGES_MAX, 4000]) {
    assert.throws(
      () => ask(talk(systems)),
      (error) => error instanceof RequestError && error.param === "kv_compression.protect",
    );
  }
  assert.equal(encoded, PROTECTED_MESSAGES_MAX);
});
