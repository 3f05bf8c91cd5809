import type { JsonObject } from "../json.ts";
import { readText, type TextDefaults } from "./decoder_text.ts";
import { textFamily, type TextModel } from "./text_family.ts";

/** transformers' Qwen2Config. */
const DEFAULTS: TextDefaults = {
  vocab: 151_936,
  hidden: 4096,
  intermediate: 22_016,
  layers: 32,
  heads: 32,
  kvHeads: 32,
  maxPositions: 32_768,
  normEps: 1e-6,
};
const SLIDING_WINDOW = 4096;
const FULL_LAYERS = 28;

/** Qwen2 and Qwen2.5: biases on q, k and v always, on the output never. */
export const qwen2Text: TextModel = {
  modelType: "qwen2",
  eosTokenIds: [],
  bosTokenId: null,
  readText(config, tied) {
    const slidingWindow = readWindow(config);
    return readText(
      config,
      DEFAULTS,
      { qkvBias: true, outputBias: false, mlpBias: false, slidingWindow },
      tied,
    );
  },
};

/** The first `max_window_layers` layers see everything; only those behind them have a window, and only when it is on. */
function readWindow(config: JsonObject): number | null {
  if (!config.boolean("use_sliding_window", false)) return null;
  if (config.value("sliding_window") === null) return null;
  const layers = config.integer("num_hidden_layers", DEFAULTS.layers, 1);
  if (config.integer("max_window_layers", FULL_LAYERS) >= layers) return null;
  return config.integer("sliding_window", SLIDING_WINDOW, 1);
}

export const qwen2 = textFamily("Qwen2ForCausalLM", qwen2Text);
