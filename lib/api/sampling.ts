/** Body fields to what the scheduler is asked for: sampling, ends of the completion. */
import { STOP_STRING_CHARACTERS_MAX, STOP_STRINGS_MAX } from "../core/limits.ts";
import type { Random } from "../core/random.ts";
import type { SamplingParams } from "../engine/engine.ts";
import { invalidType, invalidValue } from "./problem.ts";
import type { GenerationFields } from "./schema.ts";
import type { ServedModel } from "./service.ts";

/** A 64-bit seed as its low and high word; drawn when the request names none. */
function seedWords(seed: number | null | undefined, random: Random): readonly [number, number] {
  if (seed === null || seed === undefined) return [random.nextUint32(), random.nextUint32()];
  const bits = BigInt.asUintN(64, BigInt(seed));
  return [Number(bits & 0xffff_ffffn), Number(bits >> 32n)];
}

/** `logprobs`: alternatives to report a token, null for none at all. */
export function samplingOf(
  fields: GenerationFields,
  logprobs: number | null,
  model: ServedModel,
  random: Random,
): SamplingParams {
  const { defaults } = model;
  const topP = fields.top_p ?? defaults.topP;
  const topK = fields.top_k ?? defaults.topK;
  return {
    // A nucleus of nothing is the best token alone.
    temperature: topP === 0 ? 0 : fields.temperature ?? defaults.temperature,
    topP: topP === 0 ? 1 : topP,
    minP: fields.min_p ?? defaults.minP,
    // -1 is off in other servers; more than there are tokens is off too (and would not fit the device's word).
    topK: topK < 0 || topK >= model.vocabSize ? 0 : topK,
    seed: seedWords(fields.seed, random),
    logprobs,
  };
}

/** `stop`: absent, a string, or up to four. Throws RequestError. */
export function stopStrings(stop: unknown): readonly string[] {
  if (stop === null || stop === undefined) return [];
  if (typeof stop !== "string" && !Array.isArray(stop)) {
    throw invalidType("stop", "a string or an array of strings", stop);
  }
  const list: readonly unknown[] = typeof stop === "string" ? [stop] : stop;
  if (list.length > STOP_STRINGS_MAX) throw invalidValue("stop", `at most ${STOP_STRINGS_MAX} are allowed`);
  return list.map((text, index) => {
    const param = typeof stop === "string" ? "stop" : `stop[${index}]`;
    if (typeof text !== "string") throw invalidType(param, "a string", text);
    if (text === "") throw invalidValue(param, "it must not be empty");
    if (text.length > STOP_STRING_CHARACTERS_MAX) {
      throw invalidValue(param, `it must have at most ${STOP_STRING_CHARACTERS_MAX} characters`);
    }
    return text;
  });
}

/** `max_completion_tokens` wins; `maxTokensParam` is the field to name when the tokens do not fit. */
export function tokenBudget(fields: GenerationFields): { maxTokens: number | null; maxTokensParam: string } {
  const newer = fields.max_completion_tokens ?? null;
  if (newer !== null) return { maxTokens: newer, maxTokensParam: "max_completion_tokens" };
  return { maxTokens: fields.max_tokens ?? null, maxTokensParam: "max_tokens" };
}
