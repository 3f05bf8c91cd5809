/**
 * The fields of a request body and their ranges. null always means absent. Lists (messages, parts, prompts, stop
 * strings) are checked one element at a time by the code that reads them, so that the first bad element ends the work.
 */
import { z } from "zod";
import { CACHE_SALT_CHARACTERS_MAX, TOP_LOGPROBS_MAX } from "../core/limits.ts";

const flag = z.boolean().nullish();
const penalty = z.number().min(-2).max(2).nullish();

/** A JSON number beyond 2^53 has lost its last digits already; it still names one seed. */
const seed = z.number()
  .check(({ value, issues }) => {
    if (!Number.isInteger(value)) issues.push({ code: "invalid_type", expected: "int", input: value });
  })
  .refine((value) => value >= -(2 ** 63) && value <= 2 ** 63, "must fit 64 bits")
  .nullish();

/** `{"method": "knorm", "ratio": 0.8}` with the method's settings beside it, or `"knorm:0.8"`; see compression.ts. */
const kvCompression = z.union([z.string(), z.record(z.string(), z.unknown())]).nullish();

const generationFields = {
  model: z.string().nullish(),
  stream: flag,
  stream_options: z.object({ include_usage: flag }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  top_k: z.int().min(-1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  seed,
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  stop: z.unknown().optional(),
  ignore_eos: flag,
  return_token_ids: flag,
  return_timings: flag,
  kv_compression: kvCompression,
  priority: z.int().min(-1000).max(1000).nullish(),
  cache_salt: z.string().min(1).max(CACHE_SALT_CHARACTERS_MAX).nullish(),
  // Not built yet beyond their neutral value, see unsupported.ts; typed here so that a slip of type is named as such.
  n: z.int().min(1).max(128).nullish(),
  best_of: z.int().min(1).nullish(),
  frequency_penalty: penalty,
  presence_penalty: penalty,
  repetition_penalty: z.number().nullish(),
};

export const chatFields = z.object({
  ...generationFields,
  messages: z.unknown().optional(),
  logprobs: flag,
  top_logprobs: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
});

export const completionFields = z.object({
  ...generationFields,
  prompt: z.unknown().optional(),
  logprobs: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
});

export type ChatFields = z.output<typeof chatFields>;
type CompletionFields = z.output<typeof completionFields>;
export type GenerationFields = Omit<CompletionFields, "prompt" | "logprobs">;

/** A chat message before its content is read. */
export const messageFields = z.object({
  role: z.string(),
  content: z.unknown().optional(),
  tool_calls: z.unknown().optional(),
  function_call: z.unknown().optional(),
});

export const partFields = z.object({ type: z.string() });
export const textPartFields = z.object({ text: z.string() });
/** The object of the chat API, or the bare string of the responses API and of several clients. */
export const imagePartFields = z.object({
  image_url: z.union([
    z.string(),
    z.object({ url: z.string(), detail: z.enum(["auto", "low", "high"]).nullish() }),
  ]),
});
