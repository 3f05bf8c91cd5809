/** `POST /v1/chat/completions`. */
import type { Context } from "hono";
import type { AppEnv } from "./access_log.ts";
import { answer } from "./answer.ts";
import type { AnswerShape } from "./answer_shape.ts";
import { askOf } from "./ask.ts";
import { readJsonObject } from "./body.ts";
import { imageSource } from "./images.ts";
import { chatLogprobs } from "./logprobs.ts";
import { readMessages } from "./messages.ts";
import { requireModel } from "./models.ts";
import { refuseNearMisses } from "./near_miss.ts";
import type { AppParts } from "./parts.ts";
import { invalidValue, read } from "./problem.ts";
import { type ChatFields, chatFields } from "./schema.ts";
import { refuseUnsupportedInChat } from "./unsupported.ts";

/** Alternatives to report a token; null without `logprobs`. Throws RequestError. */
function alternativesOf(fields: ChatFields): number | null {
  if (fields.logprobs === true) return fields.top_logprobs ?? 0;
  if ((fields.top_logprobs ?? 0) > 0) throw invalidValue("top_logprobs", "it needs logprobs to be true");
  return null;
}

function opening(first: boolean) {
  return first ? { role: "assistant" } : {};
}

const chatShape: AnswerShape = {
  idPrefix: "chatcmpl-",
  object: "chat.completion",
  chunkObject: "chat.completion.chunk",
  whole: (text, logprobs) => ({
    message: { role: "assistant", content: text, refusal: null },
    logprobs: logprobs === null ? null : chatLogprobs(logprobs),
  }),
  piece: (text, logprob, first) => ({
    delta: { ...opening(first), content: text },
    logprobs: logprob === null ? null : chatLogprobs([logprob]),
  }),
  last: (text, first) => ({
    delta: { ...opening(first), ...(text === "" ? {} : { content: text }) },
    logprobs: null,
  }),
};

/** Throws RequestError and ClientGone. */
export async function chat(c: Context<AppEnv>, parts: AppParts): Promise<Response> {
  const loaded = parts.service.requireReady();
  const body = await readJsonObject(c.req.raw);
  const fields = read(chatFields, body);
  requireModel(loaded.model, fields.model, "model");
  refuseNearMisses(body);
  refuseUnsupportedInChat(body);
  const ask = askOf(
    fields,
    alternativesOf(fields),
    loaded.model,
    parts.random,
    c.get("record").id,
    c.get("tenant"),
  );
  const images = imageSource(parts.options.allowedMediaHosts, c.req.raw.signal);
  const messages = await readMessages(fields.messages, images);
  return await answer(c, parts, loaded, ask, { kind: "chat", messages, param: "messages" }, chatShape);
}
