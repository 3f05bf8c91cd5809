/** A text model as a family of its own, and as the text part of a larger one. */
import type { TextConfig } from "../config.ts";
import type { JsonObject } from "../json.ts";
import type { Family } from "./family.ts";
import { readBosId, readEosIds } from "./token_ids.ts";

/** One kind of text model. */
export interface TextModel {
  /** `model_type` in a text_config. */
  readonly modelType: string;
  /** What its config class assumes where config.json names none. */
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId: number | null;
  /** `tied`: whether the surrounding config ties the embeddings. Throws StartError. */
  readText(config: JsonObject, tied: boolean): TextConfig;
}

/** The family of checkpoints that hold such a model alone. */
export function textFamily(architecture: string, model: TextModel): Family {
  return {
    architecture,
    prefixes: { text: ["model."], head: ["lm_head.weight"], vision: [], projector: [] },
    readConfig: (config) => ({
      architecture,
      text: model.readText(config, false),
      vision: null,
      imageTokenId: null,
      eosTokenIds: readEosIds(config) ?? model.eosTokenIds,
      bosTokenId: readBosId(config, model.bosTokenId),
    }),
  };
}
