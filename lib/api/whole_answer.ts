/** A whole answer: nothing is written before its end, then one JSON object. */
import type { RequestError } from "../core/errors.ts";
import type { TokenLogprob } from "../../scheduler/messages.ts";
import type { AnswerBody, AnswerContext, Finished, Token } from "./answer_body.ts";
import { identity, timingsOf, usageOf } from "./answer_body.ts";
import { errorBody } from "./errors.ts";

export class WholeAnswer implements AnswerBody {
  readonly headers = { "content-type": "application/json" };
  readonly silence = null;
  readonly #identity: ReturnType<typeof identity>;
  readonly #ids: number[] = [];
  readonly #logprobs: TokenLogprob[] = [];
  #text = "";

  constructor(private readonly context: AnswerContext) {
    this.#identity = identity(context);
  }

  token(event: Token): readonly string[] {
    this.#text += event.text;
    if (this.context.style.tokenIds) this.#ids.push(event.id);
    if (event.logprob !== null) this.#logprobs.push(event.logprob);
    return [];
  }

  finished(event: Finished, promptTokenIds: readonly number[]): readonly string[] {
    const { shape, style, loaded } = this.context;
    return [JSON.stringify({
      ...this.#identity,
      object: shape.object,
      choices: [{
        index: 0,
        ...shape.whole(this.#text + event.text, style.logprobs ? this.#logprobs : null),
        finish_reason: event.reason,
        ...(style.tokenIds ? { token_ids: this.#ids } : {}),
      }],
      usage: usageOf(event, promptTokenIds, loaded.model),
      ...(style.tokenIds ? { prompt_token_ids: promptTokenIds } : {}),
      ...(style.timings ? { timings: timingsOf(event) } : {}),
    })];
  }

  failed(error: RequestError): string {
    return JSON.stringify(errorBody(error));
  }
}
