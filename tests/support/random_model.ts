/** A small LLaVA-shaped model with seeded random weights, in memory: two text layers, a CLIP tower of three. */
import type { EngineModel } from "../../lib/engine/local.ts";
import type { StoredTensor, WeightSource } from "../../lib/engine/weights.ts";
import type { ModelConfig, TextConfig, VisionConfig, WeightNames } from "../../lib/model/config.ts";
import type { MatrixDtype } from "../../lib/ops/tensor.ts";
import { Draw } from "./cases.ts";
import { encode } from "./half.ts";

const TEXT: TextConfig = {
  layers: 2,
  hidden: 48,
  heads: 6,
  kvHeads: 2,
  headDim: 16,
  intermediate: 100,
  vocab: 211,
  normEps: 1e-5,
  activation: "silu",
  rope: { theta: 10000, llama3: null },
  qkvBias: true,
  outputBias: false,
  mlpBias: false,
  tiedEmbeddings: false,
  maxPositions: 256,
  slidingWindow: null,
};

const VISION: VisionConfig = {
  tower: "clip",
  layers: 3,
  hidden: 32,
  heads: 2,
  intermediate: 60,
  activation: "quick_gelu",
  normEps: 1e-5,
  imageSize: 22,
  patchSize: 4,
  classToken: true,
  featureLayers: [1, 2],
  selectStrategy: "default",
  imageTokens: 25,
  projectorActivation: "gelu",
  projectorBias: true,
};

export const IMAGE_TOKEN = 210;

const CONFIG: ModelConfig = {
  architecture: "LlavaForConditionalGeneration",
  text: TEXT,
  vision: VISION,
  imageTokenId: IMAGE_TOKEN,
  eosTokenIds: [2],
  bosTokenId: 1,
};

const NAMES: WeightNames = { text: "text.", head: "head.weight", vision: "vision.", projector: "projector." };

export function randomModel(dtype: MatrixDtype): EngineModel {
  return { config: CONFIG, names: NAMES, source: new RandomWeights(dtype) };
}

/** Pixels of one seeded picture, [3, size, size]. */
export function randomPixels(seed: number): Float32Array {
  return new Draw(seed).normal(3 * VISION.imageSize ** 2);
}

/** Every tensor has the shape that its name asks for and values that its name seeds. */
class RandomWeights implements WeightSource {
  constructor(readonly dtype: MatrixDtype) {}

  tensor(name: string): StoredTensor {
    const shape = shapeOf(name);
    const count = shape.reduce((product, size) => product * size, 1);
    const isNorm = /norm/.test(name) && name.endsWith("weight");
    const draw = new Draw([...name].reduce((seed, letter) => seed * 31 + letter.charCodeAt(0), 7));
    // Rows of a matrix have length about 1, so that activations keep their size; norm weights are about 1.
    const values = draw.normal(
      count,
      isNorm || shape.length === 1 ? 0.2 : Math.sqrt(shape[0] / count),
      isNorm ? 1 : 0,
    );
    const bytes = encode(this.dtype, values);
    return { dtype: this.dtype, shape, read: (first, length) => bytes.subarray(first, first + length) };
  }

  has(): boolean {
    return true;
  }
}

const PATCHES = Math.floor(VISION.imageSize / VISION.patchSize) ** 2;

/** Outputs, inputs and further dimensions of each kind of weight; the first pattern that fits decides. */
const SHAPES: readonly (readonly [name: RegExp, shape: readonly number[]])[] = [
  [/^text\.embed_tokens|^head/, [TEXT.vocab, TEXT.hidden]],
  [/^text.*norm/, [TEXT.hidden]],
  [/^text.*q_proj\.weight/, [TEXT.heads * TEXT.headDim, TEXT.hidden]],
  [/^text.*[kv]_proj\.weight/, [TEXT.kvHeads * TEXT.headDim, TEXT.hidden]],
  [/^text.*o_proj\.weight/, [TEXT.hidden, TEXT.heads * TEXT.headDim]],
  [/^text.*q_proj\.bias/, [TEXT.heads * TEXT.headDim]],
  [/^text.*[kv]_proj\.bias/, [TEXT.kvHeads * TEXT.headDim]],
  [/^text.*(gate|up)_proj/, [TEXT.intermediate, TEXT.hidden]],
  [/^text.*down_proj/, [TEXT.hidden, TEXT.intermediate]],
  [/^vision.*patch_embedding/, [VISION.hidden, 3, VISION.patchSize, VISION.patchSize]],
  [/^vision.*class_embedding/, [VISION.hidden]],
  [/^vision.*position_embedding/, [PATCHES + 1, VISION.hidden]],
  [/^vision.*fc1\.weight/, [VISION.intermediate, VISION.hidden]],
  [/^vision.*fc1\.bias/, [VISION.intermediate]],
  [/^vision.*fc2\.weight/, [VISION.hidden, VISION.intermediate]],
  [/^vision.*_proj\.weight/, [VISION.hidden, VISION.hidden]],
  [/^vision/, [VISION.hidden]],
  [/^projector\.linear_1\.weight/, [TEXT.hidden, VISION.featureLayers.length * VISION.hidden]],
  [/^projector\.linear_2\.weight/, [TEXT.hidden, TEXT.hidden]],
  [/^projector/, [TEXT.hidden]],
];

function shapeOf(name: string): readonly number[] {
  const found = SHAPES.find(([pattern]) => pattern.test(name));
  if (found === undefined) throw new Error(`no shape for ${name}`);
  return found[1];
}
