/** The `prompt` of a text completion: a string, token ids, or an array of exactly one of these. */
import { RequestError } from "../core/errors.ts";
import { PROMPT_CHARACTERS_MAX } from "../core/limits.ts";
import type { Prompt } from "../../scheduler/messages.ts";
import { invalidType, invalidValue, missing } from "./problem.ts";
import type { ServedModel } from "./service.ts";

const PARAM = "prompt";

function tooLong(what: string): RequestError {
  return new RequestError("context_length_exceeded", `The prompt has ${what}.`, PARAM);
}

function textPrompt(text: string): Prompt {
  if (text.length > PROMPT_CHARACTERS_MAX) throw tooLong(`more than ${PROMPT_CHARACTERS_MAX} characters`);
  return { kind: "text", text, param: PARAM };
}

function tokenPrompt(ids: readonly unknown[], param: string, model: ServedModel): Prompt {
  // Counted first: nobody should wait while a list that cannot fit is read to its end.
  if (ids.length >= model.maxModelLen) {
    throw tooLong(
      `${ids.length} tokens, and the longest context of prompt and completion is ${model.maxModelLen}`,
    );
  }
  for (const [index, id] of ids.entries()) {
    if (typeof id !== "number" || !Number.isInteger(id)) {
      throw invalidType(`${param}[${index}]`, "a token id", id);
    }
    if (id < 0 || id >= model.vocabSize) {
      throw invalidValue(
        `${param}[${index}]`,
        `token ids are whole numbers from 0 to ${model.vocabSize - 1}`,
      );
    }
  }
  return { kind: "tokens", tokens: ids as readonly number[], param: PARAM };
}

/** Throws RequestError for the first problem. */
export function readPrompt(value: unknown, model: ServedModel): Prompt {
  if (value === null || value === undefined) throw missing(PARAM);
  if (typeof value === "string") return textPrompt(value);
  if (!Array.isArray(value)) throw invalidType(PARAM, "a string or an array", value);
  if (value.length === 0) throw invalidValue(PARAM, "it must not be empty");
  const first: unknown = value[0];
  if (typeof first === "number") return tokenPrompt(value, PARAM, model);
  if (typeof first !== "string" && !Array.isArray(first)) {
    throw invalidType(`${PARAM}[0]`, "a string, a token id or an array of token ids", first);
  }
  if (value.length > 1) {
    throw new RequestError("unsupported_parameter", "Unsupported: more than one prompt in a request.", PARAM);
  }
  if (typeof first === "string") return textPrompt(first);
  if (first.length === 0) throw invalidValue(`${PARAM}[0]`, "it must not be empty");
  return tokenPrompt(first, `${PARAM}[0]`, model);
}
