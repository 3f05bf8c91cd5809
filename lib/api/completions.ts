/** `POST /v1/completions`. */
import type { Context } from "hono";
import type { TokenLogprob } from "../../scheduler/messages.ts";
import type { AppEnv } from "./access_log.ts";
import { answer } from "./answer.ts";
import type { AnswerShape, ChoiceFields } from "./answer_shape.ts";
import { askOf } from "./ask.ts";
import { readJsonObject } from "./body.ts";
import { textLogprobs } from "./logprobs.ts";
import { requireModel } from "./models.ts";
import { refuseNearMisses } from "./near_miss.ts";
import type { AppParts } from "./parts.ts";
import { read } from "./problem.ts";
import { readPrompt } from "./prompt.ts";
import { completionFields } from "./schema.ts";
import { refuseUnsupportedInCompletion } from "./unsupported.ts";

/** Counts the characters of the tokens streamed so far, for `text_offset`. */
class TextShape implements AnswerShape {
  readonly idPrefix = "cmpl-";
  readonly object = "text_completion";
  readonly chunkObject = "text_completion";
  #offset = 0;

  whole(text: string, logprobs: readonly TokenLogprob[] | null): ChoiceFields {
    return { text, logprobs: logprobs === null ? null : textLogprobs(logprobs, 0) };
  }

  piece(text: string, logprob: TokenLogprob | null): ChoiceFields {
    if (logprob === null) return { text, logprobs: null };
    const offset = this.#offset;
    this.#offset += logprob.text.length;
    return { text, logprobs: textLogprobs([logprob], offset) };
  }

  last(text: string): ChoiceFields {
    return { text, logprobs: null };
  }
}

/** Throws RequestError and ClientGone. */
export async function completions(c: Context<AppEnv>, parts: AppParts): Promise<Response> {
  const loaded = parts.service.requireReady();
  const body = await readJsonObject(c.req.raw);
  const fields = read(completionFields, body);
  requireModel(loaded.model, fields.model, "model");
  refuseNearMisses(body);
  refuseUnsupportedInCompletion(body);
  const ask = askOf(
    fields,
    fields.logprobs ?? null,
    loaded.model,
    parts.random,
    c.get("record").id,
    c.get("tenant"),
  );
  const prompt = readPrompt(fields.prompt, loaded.model);
  return await answer(c, parts, loaded, ask, prompt, new TextShape());
}
