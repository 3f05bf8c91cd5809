/**
 * Fields that would change the answer and are not built yet. They are refused by name, never ignored; a value that
 * asks for what happens anyway passes. Fields that are not listed are ignored; slips in their names: near_miss.ts.
 */
import { RequestError } from "../core/errors.ts";
import type { JsonObject } from "./body.ts";

/** Whether a value that is neither null nor absent asks for what already happens. */
type Harmless = (value: unknown) => boolean;

const never: Harmless = () => false;
const only = (...neutral: unknown[]): Harmless => (value) => neutral.includes(value);
const empty: Harmless = (value) => {
  if (typeof value === "string" || Array.isArray(value)) return value.length === 0;
  if (typeof value !== "object") return false;
  for (const _ in value) return false;
  return true;
};
const textFormat: Harmless = (value) => typeof value === "object" && (value as JsonObject).type === "text";
const textOnly: Harmless = (value) => Array.isArray(value) && value.length === 1 && value[0] === "text";

/** Both endpoints. The first listed of those present is named. */
const GENERATION: Readonly<Record<string, Harmless>> = {
  // Several answers, or a choice among several.
  n: only(1),
  best_of: only(1),
  use_beam_search: only(false),
  // Changes to the logits before sampling.
  frequency_penalty: only(0),
  presence_penalty: only(0),
  repetition_penalty: only(1),
  repeat_penalty: only(1),
  logit_bias: empty,
  logits_processors: empty,
  allowed_token_ids: never,
  bad_words: empty,
  typical_p: only(1),
  mirostat: only(0),
  dry_multiplier: only(0),
  xtc_probability: only(0),
  dynatemp_range: only(0),
  // Grammars.
  response_format: textFormat,
  structured_outputs: empty,
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
  json_schema: never,
  grammar: empty,
  // Where a completion ends and what of it is shown.
  min_tokens: only(0),
  stop_token_ids: empty,
  include_stop_str_in_output: only(false),
  skip_special_tokens: only(true),
  return_tokens_as_token_ids: only(false),
  prompt_logprobs: never,
  // How the prompt is made.
  truncate_prompt_tokens: never,
  mm_processor_kwargs: empty,
};

const CHAT: Readonly<Record<string, Harmless>> = {
  ...GENERATION,
  tools: empty,
  tool_choice: only("none"),
  functions: empty,
  function_call: only("none"),
  audio: never,
  modalities: textOnly,
  web_search_options: never,
  documents: empty,
  chat_template: never,
  chat_template_kwargs: empty,
  add_generation_prompt: only(true),
  continue_final_message: only(false),
  add_special_tokens: only(false),
  echo: only(false),
};

const COMPLETION: Readonly<Record<string, Harmless>> = {
  ...GENERATION,
  echo: only(false),
  suffix: empty,
  prompt_embeds: never,
  add_special_tokens: only(true),
};

/** On either endpoint. */
export const UNSUPPORTED_FIELDS: readonly string[] = [...Object.keys(CHAT), ...Object.keys(COMPLETION)];

function refuseUnsupported(fields: Readonly<Record<string, Harmless>>, body: JsonObject): void {
  for (const [field, harmless] of Object.entries(fields)) {
    const value = Object.hasOwn(body, field) ? body[field] : null;
    if (value === null || value === undefined || harmless(value)) continue;
    throw new RequestError(
      "unsupported_parameter",
      `Unsupported parameter: '${field}' is not supported with this value.`,
      field,
    );
  }
}

/** Throws RequestError unsupported_parameter. */
export function refuseUnsupportedInChat(body: JsonObject): void {
  refuseUnsupported(CHAT, body);
}

/** Throws RequestError unsupported_parameter. */
export function refuseUnsupportedInCompletion(body: JsonObject): void {
  refuseUnsupported(COMPLETION, body);
}
