/**
 * Which tokens of a prompt a message is.
 *
 * Templates trim, reorder and decorate what they are given, and tokens may join a message's end with what follows, so a
 * message is found by its effect: the conversation is rendered and tokenized once more with one letter in the message's
 * place, and the tokens of the message are those between what both beginnings and what both endings have in common. Role
 * marks and turn ends are the same in both and so are not part of it; a token that joins text of the message with a mark is.
 */
import { RequestError } from "../lib/core/errors.ts";
import { PROTECTED_MESSAGES_MAX } from "../lib/core/limits.ts";
import type { SlotSpan } from "../lib/engine/compress/method.ts";
import type { TemplateMessage } from "../lib/text/text.ts";
import type { Protected } from "./messages.ts";

type Encode = (messages: readonly TemplateMessage[]) => readonly number[];

/** Spans of the protected messages among `ids`, the tokens of all of them; ascending, apart from each other. Throws RequestError. */
export function messageSpans(
  messages: readonly TemplateMessage[],
  protect: readonly Protected[],
  ids: readonly number[],
  encode: Encode,
): SlotSpan[] {
  const named = protectedIndices(messages, protect);
  if (named.length > PROTECTED_MESSAGES_MAX) {
    throw new RequestError(
      "invalid_value",
      `At most ${PROTECTED_MESSAGES_MAX} messages can be protected, here ${named.length} would be.`,
      "kv_compression.protect",
    );
  }
  const spans = named.map((index) => {
    const message = messages[index];
    return spanOf(ids, encode(messages.with(index, { role: message.role, content: letterFor(message) })));
  });
  return merged(spans.filter(({ count }) => count > 0));
}

function protectedIndices(messages: readonly TemplateMessage[], protect: readonly Protected[]): number[] {
  const lastUser = messages.findLastIndex(({ role }) => role === "user");
  return [...messages.keys()].filter((index) => {
    const { role } = messages[index];
    return ((role === "system" || role === "developer") && protect.includes("system")) ||
      (index === lastUser && protect.includes("last_user"));
  });
}

/** A letter that the message neither begins nor ends with. */
function letterFor({ content }: TemplateMessage): string {
  const text = typeof content === "string"
    ? content
    : content.map((part) => part.type === "text" ? part.text : "").join("");
  const trimmed = text.trim();
  return ["x", "y", "z"].find((letter) => !trimmed.startsWith(letter) && !trimmed.endsWith(letter))!;
}

/** What of `ids` lies between the beginning and the ending that it shares with `other`. */
function spanOf(ids: readonly number[], other: readonly number[]): SlotSpan {
  const most = Math.min(ids.length, other.length);
  let first = 0, ending = 0;
  while (first < most && ids[first] === other[first]) first++;
  while (ending < most - first && ids[ids.length - 1 - ending] === other[other.length - 1 - ending]) ending++;
  return { first, count: ids.length - ending - first };
}

/** Messages that meet or overlap become one span. */
function merged(spans: readonly SlotSpan[]): SlotSpan[] {
  const apart: SlotSpan[] = [];
  for (const { first, count } of [...spans].sort((a, b) => a.first - b.first)) {
    const last = apart.at(-1);
    if (last === undefined || first > last.first + last.count) apart.push({ first, count });
    else {apart[apart.length - 1] = {
        first: last.first,
        count: Math.max(last.count, first + count - last.first),
      };}
  }
  return apart;
}
