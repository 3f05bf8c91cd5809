/** The text settings that Llama, Mistral and Qwen2 share; they differ in defaults, biases and windows. */
import type { TextConfig } from "../config.ts";
import type { JsonObject } from "../json.ts";
import { readActivation } from "./activation.ts";
import { readRope } from "./rope.ts";

/** What a config class of transformers assumes where config.json says nothing: published configs omit a lot. */
export interface TextDefaults {
  readonly vocab: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  /** null: as many as query heads. */
  readonly kvHeads: number | null;
  readonly maxPositions: number;
  readonly normEps: number;
}

/** What a family has decided by itself. */
export type TextTraits = Pick<TextConfig, "qkvBias" | "outputBias" | "mlpBias" | "slidingWindow">;

/** Reads `config`. `tied` says whether the surrounding config ties the embeddings. Throws StartError naming the field. */
export function readText(
  config: JsonObject,
  defaults: TextDefaults,
  traits: TextTraits,
  tied: boolean,
): TextConfig {
  const heads = config.integer("num_attention_heads", defaults.heads, 1);
  const kvHeads = config.integer("num_key_value_heads", keyValueHeads(config, defaults, heads), 1);
  const hidden = config.integer("hidden_size", defaults.hidden, 1);
  const intermediate = config.integer("intermediate_size", defaults.intermediate, 1);
  const headDim = config.integer("head_dim", Math.floor(hidden / heads), 1);
  if (heads % kvHeads !== 0) {
    config.fail("num_key_value_heads", `a divisor of num_attention_heads (${heads})`);
  }
  // The kernels read rows in words of four numbers.
  if (hidden % 4 !== 0) config.fail("hidden_size", "a multiple of 4");
  if (intermediate % 4 !== 0) config.fail("intermediate_size", "a multiple of 4");
  if (headDim % 4 !== 0) {
    config.fail(
      config.has("head_dim") ? "head_dim" : "hidden_size",
      `a multiple of 4 a head (${headDim} numbers for each of ${heads} heads)`,
    );
  }
  const maxPositions = config.integer("max_position_embeddings", defaults.maxPositions, 1);
  const window = traits.slidingWindow;
  return {
    layers: config.integer("num_hidden_layers", defaults.layers, 1),
    hidden,
    heads,
    kvHeads,
    headDim,
    intermediate,
    vocab: config.integer("vocab_size", defaults.vocab, 1),
    normEps: config.number("rms_norm_eps", defaults.normEps),
    activation: readActivation(config, "hidden_act", "silu"),
    rope: readRope(config),
    qkvBias: traits.qkvBias,
    outputBias: traits.outputBias,
    mlpBias: traits.mlpBias,
    tiedEmbeddings: tied || config.boolean("tie_word_embeddings", false),
    maxPositions,
    // A window as wide as the context never cuts anything off.
    slidingWindow: window !== null && window < maxPositions ? window : null,
  };
}

/** An explicit null means one KV head a query head in every class, whatever its default. */
function keyValueHeads(config: JsonObject, defaults: TextDefaults, heads: number): number {
  return config.value("num_key_value_heads") === null ? heads : defaults.kvHeads ?? heads;
}
