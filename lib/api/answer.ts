/** The answer to one request, whole or streamed, from the scheduler's events; the same for both endpoints. */
import type { Context } from "hono";
import { unreachable } from "../core/assert.ts";
import { unixSeconds } from "../core/clock.ts";
import { RequestError } from "../core/errors.ts";
import { KEEP_ALIVE_MS } from "../core/limits.ts";
import { randomId } from "../core/random.ts";
import type { GenerateEvent, Prompt, TokenLogprob } from "../../scheduler/messages.ts";
import type { AccessRecord, AppEnv } from "./access_log.ts";
import type { AnswerShape, ChoiceFields } from "./answer_shape.ts";
import type { AnswerStyle, Ask } from "./ask.ts";
import { asRequestError, ClientGone, errorBody } from "./errors.ts";
import type { AppParts } from "./parts.ts";
import type { Loaded } from "./service.ts";
import { dataFrame, DONE_FRAME, EVENT_STREAM_HEADERS, openEventStream } from "./sse.ts";
import { usage } from "./usage.ts";

type Finished = Extract<GenerateEvent, { type: "finished" }>;

/** Who asks for what, and who waits. */
interface AnswerContext {
  readonly id: string;
  readonly loaded: Loaded;
  readonly style: AnswerStyle;
  readonly shape: AnswerShape;
  readonly record: AccessRecord;
  readonly signal: AbortSignal;
}

/** Makes the parts of an answer as events come. */
class Answer {
  readonly #base: { id: string; created: number; model: string };
  #promptTokenIds: readonly number[] = [];
  #completionTokens = 0;

  constructor(
    private readonly events: AsyncIterable<GenerateEvent>,
    private readonly context: AnswerContext,
  ) {
    this.#base = { id: context.id, created: unixSeconds(), model: context.loaded.model.name };
  }

  #admit(promptTokenIds: readonly number[]): void {
    this.#promptTokenIds = promptTokenIds;
    this.context.record.promptTokens = promptTokenIds.length;
    this.context.record.completionTokens = 0;
  }

  #count(): void {
    this.context.record.completionTokens = ++this.#completionTokens;
  }

  /** Cancelled by its client, or because the server could not wait for it any longer. */
  #cancelled(): Error {
    if (this.context.signal.aborted) return new ClientGone();
    return new RequestError("draining", "The server is shutting down and ended this request.");
  }

  #usage(end: Finished) {
    return usage(
      this.#promptTokenIds,
      this.context.loaded.model.imageTokenId,
      end.completionTokens,
      end.compression,
    );
  }

  async whole(): Promise<Response> {
    const { shape, style } = this.context;
    const ids: number[] = [];
    const logprobs: TokenLogprob[] = [];
    let text = "";
    for await (const event of this.events) {
      switch (event.type) {
        case "admitted":
          this.#admit(event.promptTokenIds);
          break;
        case "token":
          this.#count();
          text += event.text;
          if (style.tokenIds) ids.push(event.id);
          if (event.logprob !== null) logprobs.push(event.logprob);
          break;
        case "finished":
          this.context.record.end = event.reason;
          return Response.json({
            ...this.#base,
            object: shape.object,
            choices: [{
              index: 0,
              ...shape.whole(text + event.text, style.logprobs ? logprobs : null),
              finish_reason: event.reason,
              ...(style.tokenIds ? { token_ids: ids } : {}),
            }],
            usage: this.#usage(event),
            ...(style.tokenIds ? { prompt_token_ids: this.#promptTokenIds } : {}),
            ...(style.timings ? { timings: event.timings } : {}),
          });
        case "cancelled":
          throw this.#cancelled();
        case "failed":
          throw event.error;
        default:
          unreachable(event);
      }
    }
    throw this.#cancelled();
  }

  #chunk(choice: ChoiceFields | null, extra: Readonly<Record<string, unknown>>): string {
    return dataFrame({
      ...this.#base,
      object: this.context.shape.chunkObject,
      choices: choice === null ? [] : [{ index: 0, ...choice }],
      ...(this.context.style.includeUsage ? { usage: null } : {}),
      ...extra,
    });
  }

  /** The frames of a stream: one a token, the end, usage if asked for, `[DONE]`. */
  async *frames(): AsyncGenerator<string> {
    const { shape, style: { includeUsage, tokenIds, timings: withTimings } } = this.context;
    let first = true;
    for await (const event of this.events) {
      switch (event.type) {
        case "admitted":
          this.#admit(event.promptTokenIds);
          break;
        case "token":
          this.#count();
          yield this.#chunk({
            ...shape.piece(event.text, event.logprob, first),
            finish_reason: null,
            ...(tokenIds ? { token_ids: [event.id] } : {}),
          }, first && tokenIds ? { prompt_token_ids: this.#promptTokenIds } : {});
          first = false;
          break;
        case "finished": {
          this.context.record.end = event.reason;
          const timings = withTimings ? { timings: event.timings } : {};
          yield this.#chunk({
            ...shape.last(event.text, first),
            finish_reason: event.reason,
            ...(tokenIds ? { token_ids: [] } : {}),
          }, includeUsage ? {} : timings);
          if (includeUsage) yield this.#chunk(null, { usage: this.#usage(event), ...timings });
          yield DONE_FRAME;
          return;
        }
        case "cancelled":
          throw this.#cancelled();
        case "failed":
          throw event.error;
        default:
          unreachable(event);
      }
    }
    throw this.#cancelled();
  }
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
  const id = randomId(random, shape.idPrefix);
  const answer = new Answer(events, { id, loaded, style, shape, record, signal });
  if (!style.stream) return await answer.whole();
  const stream = await openEventStream(answer.frames(), {
    clock,
    keepAliveMs: KEEP_ALIVE_MS,
    errorFrame(thrown) {
      if (thrown instanceof ClientGone) {
        record.end = "disconnected";
        return null;
      }
      const error = asRequestError(thrown);
      record.end = error.code;
      return dataFrame(errorBody(error));
    },
    cancelled() {
      // A client that has read `[DONE]` may close before the stream does: that was a whole answer.
      record.end ??= "disconnected";
      gone.abort();
    },
    ended: () => record.write(),
  });
  record.held = true;
  return new Response(stream, { headers: EVENT_STREAM_HEADERS });
}
