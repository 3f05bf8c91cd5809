/** LLaVA: a CLIP or SigLIP tower, a two-layer projector, and a text model that sees its features as tokens. */
import type { VisionConfig } from "../config.ts";
import { isWhole, type JsonObject } from "../json.ts";
import { readActivation } from "./activation.ts";
import type { Family } from "./family.ts";
import { llamaText } from "./llama.ts";
import { mistralText } from "./mistral.ts";
import { qwen2Text } from "./qwen2.ts";
import type { TextModel } from "./text_family.ts";
import { readBosId, readEosIds } from "./token_ids.ts";
import { readTower, type Tower } from "./tower.ts";

const ARCHITECTURE = "LlavaForConditionalGeneration";
const TEXT_MODELS: readonly TextModel[] = [llamaText, mistralText, qwen2Text];

/** transformers' LlavaConfig. */
const IMAGE_TOKEN_ID = 32_000;
const FEATURE_LAYER = -2;

export const llava: Family = {
  architecture: ARCHITECTURE,
  prefixes: {
    text: ["language_model.model.", "model.language_model.", "language_model.", "model."],
    head: ["language_model.lm_head.weight", "lm_head.weight"],
    vision: [
      "vision_tower.vision_model.",
      "model.vision_tower.vision_model.",
      "vision_tower.",
      "model.vision_tower.",
    ],
    projector: ["multi_modal_projector.", "model.multi_modal_projector."],
  },
  readConfig(config) {
    const text = config.inside("text_config");
    const model = textModel(text);
    return {
      architecture: ARCHITECTURE,
      text: model.readText(text, config.boolean("tie_word_embeddings", false)),
      vision: readVision(config),
      imageTokenId: imageTokenId(config),
      eosTokenIds: readEosIds(config) ?? readEosIds(text) ?? model.eosTokenIds,
      bosTokenId: readBosId(config, readBosId(text, model.bosTokenId)),
    };
  },
};

function textModel(text: JsonObject): TextModel {
  const modelType = text.string("model_type", llamaText.modelType);
  const model = TEXT_MODELS.find((candidate) => candidate.modelType === modelType);
  return model ?? text.fail("model_type", `one of ${TEXT_MODELS.map((known) => known.modelType).join(", ")}`);
}

function readVision(config: JsonObject): VisionConfig {
  const tower = readTower(config);
  const selectStrategy = config.string("vision_feature_select_strategy", "default");
  if (selectStrategy !== "default" && selectStrategy !== "full") {
    config.fail("vision_feature_select_strategy", "default or full");
  }
  const rows = Math.floor(tower.imageSize / tower.patchSize) ** 2 + (tower.classToken ? 1 : 0);
  const imageTokens = selectStrategy === "default" ? rows - 1 : rows;
  if (imageTokens < 1) config.fail("vision_feature_select_strategy", "full for a tower of one row");
  return {
    ...tower,
    featureLayers: featureLayers(config, tower),
    selectStrategy,
    imageTokens,
    projectorActivation: readActivation(config, "projector_hidden_act", "gelu"),
    projectorBias: config.boolean("multimodal_projector_bias", true),
  };
}

/** Indices into hidden_states, of which there are layers + 1; negative ones count from the end. */
function featureLayers(config: JsonObject, tower: Tower): number[] {
  const count = tower.layers + 1;
  const expected = `one or more whole numbers from ${-count} to ${count - 1}`;
  const layers = config.list("vision_feature_layer", isWhole, expected) ?? [FEATURE_LAYER];
  if (layers.length === 0 || layers.some((layer) => layer < -count || layer >= count)) {
    config.fail("vision_feature_layer", expected);
  }
  return layers.map((layer) => layer < 0 ? count + layer : layer);
}

/** Newer configs call the field `image_token_id`. */
function imageTokenId(config: JsonObject): number {
  return config.integer(
    config.has("image_token_id") ? "image_token_id" : "image_token_index",
    IMAGE_TOKEN_ID,
  );
}
