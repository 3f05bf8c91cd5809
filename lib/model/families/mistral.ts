import type { JsonObject } from "../json.ts";
import { readText, type TextDefaults } from "./decoder_text.ts";
import { textFamily, type TextModel } from "./text_family.ts";

/** transformers' MistralConfig. */
const DEFAULTS: TextDefaults = {
  vocab: 32_000,
  hidden: 4096,
  intermediate: 14_336,
  layers: 32,
  heads: 32,
  kvHeads: 8,
  maxPositions: 131_072,
  normEps: 1e-6,
};
const SLIDING_WINDOW = 4096;

/** Mistral 7B and its kin: no biases; a window unless the config says null. */
export const mistralText: TextModel = {
  modelType: "mistral",
  eosTokenIds: [2],
  bosTokenId: 1,
  readText(config, tied) {
    const slidingWindow = readWindow(config);
    return readText(
      config,
      DEFAULTS,
      { qkvBias: false, outputBias: false, mlpBias: false, slidingWindow },
      tied,
    );
  },
};

function readWindow(config: JsonObject): number | null {
  if (config.value("sliding_window") === null) return null;
  return config.integer("sliding_window", SLIDING_WINDOW, 1);
}

export const mistral = textFamily("MistralForCausalLM", mistralText);
