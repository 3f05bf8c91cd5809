/** What both endpoints ask for beside the prompt: the scheduler's part and the looks of the answer. */
import type { Random } from "../core/random.ts";
import type { GenerateRequest } from "../../scheduler/messages.ts";
import { samplingOf, stopStrings, tokenBudget } from "./sampling.ts";
import { compressionOf } from "./compression.ts";
import type { GenerationFields } from "./schema.ts";
import type { ServedModel } from "./service.ts";

/** How the answer is to look. */
export interface AnswerStyle {
  readonly stream: boolean;
  /** Streams only: a last chunk with `usage`. Whole answers always have it. */
  readonly includeUsage: boolean;
  readonly logprobs: boolean;
  readonly tokenIds: boolean;
  readonly timings: boolean;
}

export interface Ask {
  readonly request: Omit<GenerateRequest, "prompt">;
  readonly style: AnswerStyle;
}

/** `alternatives`: log-probabilities to report a token, null for none at all. Throws RequestError. */
export function askOf(
  fields: GenerationFields,
  alternatives: number | null,
  model: ServedModel,
  random: Random,
  requestId: string,
  tenant: string,
): Ask {
  return {
    request: {
      id: requestId,
      sampling: samplingOf(fields, alternatives, model, random),
      ...tokenBudget(fields),
      stop: stopStrings(fields.stop),
      ignoreEos: fields.ignore_eos ?? false,
      compression: compressionOf(fields.kv_compression, model.compressors),
      priority: fields.priority ?? 0,
      tenant,
      cacheSalt: fields.cache_salt ?? "",
    },
    style: {
      stream: fields.stream ?? false,
      includeUsage: fields.stream_options?.include_usage ?? false,
      logprobs: alternatives !== null,
      tokenIds: fields.return_token_ids ?? false,
      timings: fields.return_timings ?? false,
    },
  };
}
