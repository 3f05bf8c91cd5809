/** The answer to one request, whole or streamed, from the scheduler's events; the same for both endpoints. */
import type { Context } from "hono";
import { unreachable } from "../core/assert.ts";
import { RequestError } from "../core/errors.ts";
import { randomId } from "../core/random.ts";
import type { GenerateEvent, Prompt } from "../../scheduler/messages.ts";
import type { AccessRecord, AppEnv } from "./access_log.ts";
import type { AnswerBody } from "./answer_body.ts";
import type { AnswerShape } from "./answer_shape.ts";
import type { Ask } from "./ask.ts";
import { openBody } from "./body_stream.ts";
import { asRequestError, ClientGone } from "./errors.ts";
import type { AppParts } from "./parts.ts";
import type { Loaded } from "./service.ts";
import { StreamedAnswer } from "./streamed_answer.ts";
import { WholeAnswer } from "./whole_answer.ts";

/** Cancelled by its client, or because the server could not wait for it any longer. */
function cancellation(signal: AbortSignal): Error {
  if (signal.aborted) return new ClientGone();
  return new RequestError("draining", "The server is shutting down and ended this request.");
}

/** The pieces of `body` as events come; `record` counts along. Throws RequestError and ClientGone. */
async function* piecesOf(
  events: AsyncIterable<GenerateEvent>,
  body: AnswerBody,
  record: AccessRecord,
  signal: AbortSignal,
): AsyncGenerator<string> {
  let promptTokenIds: readonly number[] = [];
  let completionTokens = 0;
  for await (const event of events) {
    switch (event.type) {
      case "admitted":
        promptTokenIds = event.promptTokenIds;
        record.promptTokens = promptTokenIds.length;
        record.completionTokens = 0;
        break;
      case "token":
        record.completionTokens = ++completionTokens;
        yield* body.token(event, promptTokenIds);
        break;
      case "finished":
        record.end = event.reason;
        yield* body.finished(event, promptTokenIds);
        return;
      case "cancelled":
        throw cancellation(signal);
      case "failed":
        throw event.error;
      default:
        unreachable(event);
    }
  }
  throw cancellation(signal);
}

/** Throws RequestError, or ClientGone when nobody waits for the answer any more. */
export async function answer(
  c: Context<AppEnv>,
  { clock, random }: AppParts,
  loaded: Loaded,
  { request, style }: Ask,
  prompt: Prompt,
  shape: AnswerShape,
): Promise<Response> {
  const record = c.get("record");
  const gone = new AbortController();
  const signal = AbortSignal.any([c.req.raw.signal, gone.signal]);
  const events = loaded.scheduler.submit({ ...request, prompt }, signal);
  const context = { id: randomId(random, shape.idPrefix), loaded, style, shape };
  const body = style.stream ? new StreamedAnswer(context) : new WholeAnswer(context);
  const stream = await openBody(piecesOf(events, body, record, signal), {
    clock,
    silence: body.silence,
    failed(thrown) {
      if (thrown instanceof ClientGone) {
        record.end = "disconnected";
        return null;
      }
      const error = asRequestError(thrown);
      record.end = error.code;
      return body.failed(error);
    },
    cancelled() {
      // A client that has read its answer may close before the stream does: that was a whole answer.
      record.end ??= "disconnected";
      gone.abort();
    },
    ended: () => record.write(),
  });
  record.held = true;
  return new Response(stream, { headers: body.headers });
}
