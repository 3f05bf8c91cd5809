import { readText, type TextDefaults } from "./decoder_text.ts";
import { textFamily, type TextModel } from "./text_family.ts";

/** transformers' LlamaConfig. */
const DEFAULTS: TextDefaults = {
  vocab: 32_000,
  hidden: 4096,
  intermediate: 11_008,
  layers: 32,
  heads: 32,
  kvHeads: null,
  maxPositions: 2048,
  normEps: 1e-6,
};

/** Llama 1 to 3 and what is built like it: one flag puts a bias on all four projections of attention. */
export const llamaText: TextModel = {
  modelType: "llama",
  eosTokenIds: [2],
  bosTokenId: 1,
  readText(config, tied) {
    const bias = config.boolean("attention_bias", false);
    const mlpBias = config.boolean("mlp_bias", false);
    return readText(
      config,
      DEFAULTS,
      { qkvBias: bias, outputBias: bias, mlpBias, slidingWindow: null },
      tied,
    );
  },
};

export const llama = textFamily("LlamaForCausalLM", llamaText);
