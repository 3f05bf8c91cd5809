/** Body fields to what the scheduler is asked for: sampling, ends of the completion, compression. */
import { STOP_STRING_CHARACTERS_MAX, STOP_STRINGS_MAX } from "../core/limits.ts";
import type { Random } from "../core/random.ts";
import { COMPRESSION_METHODS, type CompressionMethod, ratioProblem } from "../engine/compress/mod.ts";
import type { SamplingParams } from "../engine/engine.ts";
import { AUTO_COMPRESSION } from "../../scheduler/compression.ts";
import type { Compression } from "../../scheduler/messages.ts";
import { invalidType, invalidValue, missing } from "./problem.ts";
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

function isMethod(name: string): name is CompressionMethod {
  return (COMPRESSION_METHODS as readonly string[]).includes(name);
}

/** null for `none`, undefined where the server's own choice holds. Throws RequestError. */
export function compressionOf(asked: GenerationFields["kv_compression"]): Compression | null | undefined {
  if (asked === null || asked === undefined) return undefined;
  const short = typeof asked === "string";
  const [method, ratio] = short ? shorthand(asked) : [asked.method, asked.ratio ?? null];
  const methodParam = short ? "kv_compression" : "kv_compression.method";
  const ratioParam = short ? "kv_compression" : "kv_compression.ratio";
  if (method === "none") return null;
  if (method === "auto") {
    if (ratio === null) return AUTO_COMPRESSION;
    const problem = ratioProblem(AUTO_COMPRESSION.method, ratio);
    if (problem !== null) throw invalidValue(ratioParam, problem);
    return { ...AUTO_COMPRESSION, ratio };
  }
  if (!isMethod(method)) {
    throw invalidValue(
      methodParam,
      `the method must be one of none, auto, ${COMPRESSION_METHODS.join(", ")}`,
    );
  }
  if (ratio === null) throw missing(ratioParam);
  const problem = ratioProblem(method, ratio);
  if (problem !== null) throw invalidValue(ratioParam, problem);
  return { method, ratio };
}

/** `METHOD` or `METHOD:RATIO`. A ratio that is no number reads as NaN, which no method takes. */
function shorthand(text: string): [string, number | null] {
  const colon = text.indexOf(":");
  if (colon < 0) return [text, null];
  const digits = text.slice(colon + 1);
  return [text.slice(0, colon), digits.trim() === "" ? NaN : Number(digits)];
}
