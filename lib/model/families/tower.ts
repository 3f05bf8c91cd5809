/** The picture towers that LLaVA puts in front of its text model. */
import type { VisionConfig } from "../config.ts";
import type { JsonObject } from "../json.ts";
import { readActivation } from "./activation.ts";

/** A tower: what it always has, and what its config class of transformers assumes. */
interface TowerKind {
  readonly tower: VisionConfig["tower"];
  readonly classToken: boolean;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly activation: string;
  readonly normEps: number;
}

const CLIP: TowerKind = {
  tower: "clip",
  classToken: true,
  hidden: 768,
  intermediate: 3072,
  layers: 12,
  heads: 12,
  imageSize: 224,
  patchSize: 32,
  activation: "quick_gelu",
  normEps: 1e-5,
};

const SIGLIP: TowerKind = {
  tower: "siglip",
  classToken: false,
  hidden: 768,
  intermediate: 3072,
  layers: 12,
  heads: 12,
  imageSize: 224,
  patchSize: 16,
  activation: "gelu_pytorch_tanh",
  normEps: 1e-6,
};

/** What LlavaConfig takes when config.json has no vision_config at all: CLIP ViT-L/14 at 336 pixels. */
const CLIP_LARGE: TowerKind = {
  ...CLIP,
  hidden: 1024,
  intermediate: 4096,
  layers: 24,
  heads: 16,
  imageSize: 336,
  patchSize: 14,
};

const KINDS: Readonly<Record<string, TowerKind>> = {
  clip_vision_model: CLIP,
  siglip_vision_model: SIGLIP,
};

/** A tower's own settings, without what LLaVA selects from it. */
export type Tower = Omit<
  VisionConfig,
  "featureLayers" | "selectStrategy" | "imageTokens" | "projectorActivation" | "projectorBias"
>;

/** Reads `vision_config` of `config`. Throws StartError naming the field that is wrong or not supported. */
export function readTower(config: JsonObject): Tower {
  const vision = config.object("vision_config");
  if (vision === null) return settings(config.inside("vision_config"), CLIP_LARGE);
  const modelType = vision.string("model_type", "clip_vision_model");
  if (!Object.hasOwn(KINDS, modelType)) vision.fail("model_type", `one of ${Object.keys(KINDS).join(", ")}`);
  return settings(vision, KINDS[modelType]);
}

function settings(config: JsonObject, kind: TowerKind): Tower {
  if (config.integer("num_channels", 3) !== 3) config.fail("num_channels", "3");
  const hidden = config.integer("hidden_size", kind.hidden, 1);
  const heads = config.integer("num_attention_heads", kind.heads, 1);
  const intermediate = config.integer("intermediate_size", kind.intermediate, 1);
  const imageSize = config.integer("image_size", kind.imageSize, 1);
  const patchSize = config.integer("patch_size", kind.patchSize, 1);
  // The kernels read rows in words of four numbers.
  if (hidden % (4 * heads) !== 0) config.fail("hidden_size", `a multiple of 4 for each of ${heads} heads`);
  if (intermediate % 4 !== 0) config.fail("intermediate_size", "a multiple of 4");
  if (patchSize % 2 !== 0) config.fail("patch_size", "an even number");
  if (patchSize > imageSize) config.fail("patch_size", `at most image_size (${imageSize})`);
  return {
    tower: kind.tower,
    classToken: kind.classToken,
    layers: config.integer("num_hidden_layers", kind.layers, 1),
    hidden,
    heads,
    intermediate,
    activation: readActivation(config, "hidden_act", kind.activation),
    normEps: config.number("layer_norm_eps", kind.normEps),
    imageSize,
    patchSize,
  };
}
