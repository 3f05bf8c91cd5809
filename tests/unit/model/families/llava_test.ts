import { deepEqual, equal, throws } from "node:assert/strict";
import { familyOf } from "../../../../lib/model/families/mod.ts";
import { llava } from "../../../../lib/model/families/llava.ts";
import { JsonObject } from "../../../../lib/model/json.ts";

function config(fields: Record<string, unknown>): JsonObject {
  return new JsonObject("config.json", fields);
}

/** What llava-hf publishes for LLaVA-1.5 7B: most fields are left to the classes of transformers. */
const PUBLISHED = {
  architectures: ["LlavaForConditionalGeneration"],
  ignore_index: -100,
  image_token_index: 32000,
  model_type: "llava",
  pad_token_id: 32001,
  projector_hidden_act: "gelu",
  text_config: {
    _name_or_path: "lmsys/vicuna-7b-v1.5",
    architectures: ["LlamaForCausalLM"],
    max_position_embeddings: 4096,
    model_type: "llama",
    rms_norm_eps: 1e-5,
    torch_dtype: "float16",
    vocab_size: 32064,
  },
  tie_word_embeddings: false,
  torch_dtype: "float16",
  vision_config: {
    hidden_size: 1024,
    image_size: 336,
    intermediate_size: 4096,
    model_type: "clip_vision_model",
    num_attention_heads: 16,
    num_hidden_layers: 24,
    patch_size: 14,
    projection_dim: 768,
    vocab_size: 32000,
  },
  vision_feature_layer: -2,
  vision_feature_select_strategy: "default",
  vocab_size: 32064,
};

Deno.test("llava fills the fields that published configs omit from the classes of transformers", () => {
  const read = familyOf(config(PUBLISHED)).readConfig(config(PUBLISHED));
  deepEqual(read, {
    architecture: "LlavaForConditionalGeneration",
    text: {
      layers: 32,
      hidden: 4096,
      heads: 32,
      kvHeads: 32,
      headDim: 128,
      intermediate: 11008,
      vocab: 32064,
      normEps: 1e-5,
      activation: "silu",
      rope: { theta: 10000, llama3: null },
      qkvBias: false,
      outputBias: false,
      mlpBias: false,
      tiedEmbeddings: false,
      maxPositions: 4096,
      slidingWindow: null,
    },
    vision: {
      tower: "clip",
      classToken: true,
      layers: 24,
      hidden: 1024,
      heads: 16,
      intermediate: 4096,
      activation: "quick_gelu",
      normEps: 1e-5,
      imageSize: 336,
      patchSize: 14,
      featureLayers: [23],
      selectStrategy: "default",
      imageTokens: 576,
      projectorActivation: "gelu",
      projectorBias: true,
    },
    imageTokenId: 32000,
    eosTokenIds: [2],
    bosTokenId: 1,
  });
});

Deno.test("llava without text_config and vision_config is LLaVA-1.5's own shape", () => {
  const { text, vision } = llava.readConfig(config({}));
  deepEqual([text.layers, text.hidden, text.vocab, text.maxPositions], [32, 4096, 32000, 2048]);
  deepEqual([vision?.layers, vision?.hidden, vision?.imageSize, vision?.imageTokens], [24, 1024, 336, 576]);
});

Deno.test("llava reads a SigLIP tower with its own defaults, whose patches all count", () => {
  const { vision } = llava.readConfig(config({
    vision_config: {
      model_type: "siglip_vision_model",
      hidden_size: 1152,
      image_size: 384,
      intermediate_size: 4304,
      num_attention_heads: 16,
      num_hidden_layers: 26,
      patch_size: 14,
    },
    vision_feature_select_strategy: "full",
    vision_feature_layer: -1,
  }));
  deepEqual([vision?.tower, vision?.classToken, vision?.activation], ["siglip", false, "gelu_tanh"]);
  deepEqual([vision?.normEps, vision?.featureLayers], [1e-6, [26]]);
  // 384 / 14 = 27 rows and columns, the remainder is not looked at.
  equal(vision?.imageTokens, 729);
});

Deno.test("llava counts one row less for `default` and, with a class token, one more for `full`", () => {
  const tokens = (model_type: string, strategy: string) =>
    llava.readConfig(config({
      vision_config: { model_type, image_size: 64, patch_size: 16 },
      vision_feature_select_strategy: strategy,
    })).vision?.imageTokens;
  equal(tokens("clip_vision_model", "default"), 16);
  equal(tokens("clip_vision_model", "full"), 17);
  equal(tokens("siglip_vision_model", "default"), 15);
  equal(tokens("siglip_vision_model", "full"), 16);
});

Deno.test("llava counts negative feature layers from the end and takes lists", () => {
  const layers = (layer: unknown) =>
    llava.readConfig(config({ vision_config: { num_hidden_layers: 4 }, vision_feature_layer: layer })).vision
      ?.featureLayers;
  deepEqual(layers(-1), [4]);
  deepEqual(layers(-5), [0]);
  deepEqual(layers(0), [0]);
  deepEqual(layers([-2, 1, 4]), [3, 1, 4]);
});

Deno.test("llava takes Mistral and Qwen2 text models with their own defaults", () => {
  const mistral = llava.readConfig(config({ text_config: { model_type: "mistral" } }));
  deepEqual([mistral.text.kvHeads, mistral.text.intermediate, mistral.text.slidingWindow], [8, 14336, 4096]);
  const qwen2 = llava.readConfig(config({
    image_token_id: 151646,
    text_config: {
      model_type: "qwen2",
      hidden_size: 896,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      eos_token_id: [5, 6],
    },
  }));
  deepEqual([qwen2.text.headDim, qwen2.text.qkvBias, qwen2.text.outputBias], [64, true, false]);
  deepEqual([qwen2.imageTokenId, qwen2.eosTokenIds, qwen2.bosTokenId], [151646, [5, 6], null]);
});

Deno.test("llava ties the embeddings when either config says so", () => {
  const tied = (outer: boolean, inner: boolean) =>
    llava.readConfig(config({ tie_word_embeddings: outer, text_config: { tie_word_embeddings: inner } })).text
      .tiedEmbeddings;
  deepEqual([tied(false, false), tied(true, false), tied(false, true)], [false, true, true]);
});

const refused: readonly (readonly [fields: Record<string, unknown>, message: RegExp])[] = [
  [
    { text_config: { model_type: "gemma" } },
    /config\.json: text_config\.model_type must be one of llama, mistral, qwen2, found "gemma"/,
  ],
  [
    { vision_config: { model_type: "dinov2" } },
    /vision_config\.model_type must be one of clip_vision_model, siglip_vision_model, found "dinov2"/,
  ],
  [
    { vision_feature_select_strategy: "cls" },
    /vision_feature_select_strategy must be default or full, found "cls"/,
  ],
  [
    { vision_feature_layer: -26 },
    /vision_feature_layer must be one or more whole numbers from -25 to 24, found -26/,
  ],
  [{ vision_feature_layer: [] }, /vision_feature_layer/],
  [{ vision_feature_layer: "-2" }, /vision_feature_layer/],
  [{ projector_hidden_act: "mish" }, /projector_hidden_act must be one of silu, .*found "mish"/],
  [{ vision_config: { patch_size: 15 } }, /vision_config\.patch_size must be an even number, found 15/],
  [{ vision_config: { num_channels: 1 } }, /vision_config\.num_channels must be 3/],
  [
    { vision_config: { hidden_size: 100, num_attention_heads: 3 } },
    /vision_config\.hidden_size must be a multiple of 4 for each of 3 heads/,
  ],
  [{ text_config: [] }, /text_config must be an object, found \[\]/],
  [{ eos_token_id: "2" }, /eos_token_id must be a token id or a list/],
];

for (const [fields, message] of refused) {
  Deno.test(`llava refuses ${JSON.stringify(fields)}`, () => {
    throws(() => llava.readConfig(config(fields)), { name: "StartError", message });
  });
}
