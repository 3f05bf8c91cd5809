/** What generation_config.json says: where completions end and how tokens are sampled by default. */
import type { GenerationDefaults } from "./config.ts";
import { readEosIds } from "./families/token_ids.ts";
import type { JsonObject } from "./json.ts";

export interface Generation {
  /** null where config.json decides. */
  readonly eosTokenIds: readonly number[] | null;
  readonly defaults: GenerationDefaults;
}

/** Without the file every switch is off and the temperature is 1, as OpenAI's API has it. */
const PLAIN: GenerationDefaults = { temperature: 1, topP: 1, topK: 0, minP: 0, maxNewTokens: null };

/**
 * Throws StartError for values that no sampler takes. A model that says `do_sample: false` is greedy unless a request
 * asks otherwise; one that says nothing samples.
 */
export function readGeneration(config: JsonObject | null): Generation {
  if (config === null) return { eosTokenIds: null, defaults: PLAIN };
  const greedy = !config.boolean("do_sample", true);
  return {
    eosTokenIds: readEosIds(config),
    defaults: {
      temperature: greedy ? 0 : between(config, "temperature", PLAIN.temperature, 0, Infinity),
      topP: between(config, "top_p", PLAIN.topP, 0, 1),
      topK: config.integer("top_k", PLAIN.topK),
      minP: between(config, "min_p", PLAIN.minP, 0, 1),
      maxNewTokens: config.has("max_new_tokens") ? config.integer("max_new_tokens", undefined, 1) : null,
    },
  };
}

function between(config: JsonObject, key: string, fallback: number, min: number, max: number): number {
  const value = config.number(key, fallback);
  return value >= min && value <= max ? value : config.fail(key, `a number from ${min} to ${max}`);
}
