/** A streamed answer: one event a token, the end, usage if asked for, `[DONE]`. */
import type { RequestError } from "../core/errors.ts";
import { KEEP_ALIVE_MS } from "../core/limits.ts";
import type { AnswerBody, AnswerContext, Finished, Token } from "./answer_body.ts";
import { identity, timingsOf, usageOf } from "./answer_body.ts";
import type { ChoiceFields } from "./answer_shape.ts";
import { errorBody } from "./errors.ts";

const KEEP_ALIVE_FRAME = ": keep-alive\n\n";
const DONE_FRAME = "data: [DONE]\n\n";

function dataFrame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

export class StreamedAnswer implements AnswerBody {
  readonly headers = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
  };
  readonly silence = { piece: KEEP_ALIVE_FRAME, afterMs: KEEP_ALIVE_MS };
  readonly #identity: ReturnType<typeof identity>;
  #first = true;

  constructor(private readonly context: AnswerContext) {
    this.#identity = identity(context);
  }

  token(event: Token, promptTokenIds: readonly number[]): readonly string[] {
    const { shape, style: { tokenIds } } = this.context;
    const first = this.#first;
    this.#first = false;
    return [this.#chunk({
      ...shape.piece(event.text, event.logprob, first),
      finish_reason: null,
      ...(tokenIds ? { token_ids: [event.id] } : {}),
    }, first && tokenIds ? { prompt_token_ids: promptTokenIds } : {})];
  }

  finished(event: Finished, promptTokenIds: readonly number[]): readonly string[] {
    const { shape, loaded, style: { includeUsage, tokenIds, timings: withTimings } } = this.context;
    const timings = withTimings ? { timings: timingsOf(event) } : {};
    const last = this.#chunk({
      ...shape.last(event.text, this.#first),
      finish_reason: event.reason,
      ...(tokenIds ? { token_ids: [] } : {}),
    }, includeUsage ? {} : timings);
    if (!includeUsage) return [last, DONE_FRAME];
    const usage = usageOf(event, promptTokenIds, loaded.model);
    return [last, this.#chunk(null, { usage, ...timings }), DONE_FRAME];
  }

  failed(error: RequestError): string {
    return dataFrame(errorBody(error));
  }

  #chunk(choice: ChoiceFields | null, extra: Readonly<Record<string, unknown>>): string {
    return dataFrame({
      ...this.#identity,
      object: this.context.shape.chunkObject,
      choices: choice === null ? [] : [{ index: 0, ...choice }],
      ...(this.context.style.includeUsage ? { usage: null } : {}),
      ...extra,
    });
  }
}
