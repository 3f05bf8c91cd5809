/** Which tensors a model needs, how they are called in its checkpoint, and whether they are there. */
import { StartError } from "../core/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { ModelConfig, TextConfig, VisionConfig, WeightNames } from "./config.ts";
import type { WeightPrefixes } from "./families/family.ts";

/** A tensor that the engine will load. */
export interface RequiredTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * The prefixes under which this checkpoint holds its tensors. Where none fits, the usual one is taken, and
 * {@link validateWeights} says what is missing.
 */
export function resolveNames(
  prefixes: WeightPrefixes,
  config: ModelConfig,
  checkpoint: Checkpoint,
): WeightNames {
  const find = (candidates: readonly string[], probe: string) =>
    candidates.find((prefix) => checkpoint.has(`${prefix}${probe}`)) ?? candidates[0];
  const text = find(prefixes.text, "embed_tokens.weight");
  return {
    text,
    head: config.text.tiedEmbeddings ? `${text}embed_tokens.weight` : find(prefixes.head, ""),
    vision: config.vision === null ? null : find(prefixes.vision, "embeddings.patch_embedding.weight"),
    projector: config.vision === null ? null : find(prefixes.projector, "linear_1.weight"),
  };
}

/** Every tensor that the engine will load, with its shape. Tower layers behind the last feature layer are not read. */
export function requiredTensors(config: ModelConfig, names: WeightNames): RequiredTensor[] {
  const { text, vision } = config;
  const out = textTensors(text, names);
  if (vision !== null && names.vision !== null && names.projector !== null) {
    out.push(
      ...towerTensors(vision, names.vision),
      ...projectorTensors(vision, text.hidden, names.projector),
    );
  }
  return out;
}

/** Throws StartError naming the file, the tensor, what was expected and what was found. */
export function validateWeights(config: ModelConfig, names: WeightNames, checkpoint: Checkpoint): void {
  for (const { name, shape } of requiredTensors(config, names)) {
    const expected = `[${shape.join(", ")}]`;
    if (!checkpoint.has(name)) {
      throw new StartError(`${checkpoint.file}: tensor "${name}" is missing, expected shape ${expected}`);
    }
    const found = checkpoint.tensor(name).shape;
    if (found.length !== shape.length || found.some((size, axis) => size !== shape[axis])) {
      throw new StartError(
        `${checkpoint.fileOf(name)}: tensor "${name}" has shape [${found.join(", ")}], expected ${expected}`,
      );
    }
  }
}

function textTensors(text: TextConfig, names: WeightNames): RequiredTensor[] {
  const { hidden, intermediate, headDim, vocab } = text;
  const queries = text.heads * headDim, keys = text.kvHeads * headDim;
  const out: RequiredTensor[] = [{ name: `${names.text}embed_tokens.weight`, shape: [vocab, hidden] }];
  for (let layer = 0; layer < text.layers; layer++) {
    const at = `${names.text}layers.${layer}.`;
    out.push(
      vector(`${at}input_layernorm.weight`, hidden),
      ...linear(`${at}self_attn.q_proj`, queries, hidden, text.qkvBias),
      ...linear(`${at}self_attn.k_proj`, keys, hidden, text.qkvBias),
      ...linear(`${at}self_attn.v_proj`, keys, hidden, text.qkvBias),
      ...linear(`${at}self_attn.o_proj`, hidden, queries, text.outputBias),
      vector(`${at}post_attention_layernorm.weight`, hidden),
      ...linear(`${at}mlp.gate_proj`, intermediate, hidden, text.mlpBias),
      ...linear(`${at}mlp.up_proj`, intermediate, hidden, text.mlpBias),
      ...linear(`${at}mlp.down_proj`, hidden, intermediate, text.mlpBias),
    );
  }
  out.push(vector(`${names.text}norm.weight`, hidden));
  if (!text.tiedEmbeddings) out.push({ name: names.head, shape: [vocab, hidden] });
  return out;
}

function towerTensors(vision: VisionConfig, prefix: string): RequiredTensor[] {
  const { hidden, intermediate, patchSize } = vision;
  const patches = Math.floor(vision.imageSize / patchSize) ** 2;
  const clip = vision.tower === "clip";
  const patch = `${prefix}embeddings.patch_embedding`;
  const positions = patches + (vision.classToken ? 1 : 0);
  const out: RequiredTensor[] = [
    { name: `${patch}.weight`, shape: [hidden, 3, patchSize, patchSize] },
    ...(clip ? [] : [vector(`${patch}.bias`, hidden)]),
    ...(vision.classToken ? [vector(`${prefix}embeddings.class_embedding`, hidden)] : []),
    { name: `${prefix}embeddings.position_embedding.weight`, shape: [positions, hidden] },
    // The name is misspelt in CLIP's own code, and so in every checkpoint.
    ...(clip ? norm(`${prefix}pre_layrnorm`, hidden) : []),
  ];
  for (let layer = 0; layer < Math.max(...vision.featureLayers); layer++) {
    const at = `${prefix}encoder.layers.${layer}.`;
    out.push(
      ...norm(`${at}layer_norm1`, hidden),
      ...["q_proj", "k_proj", "v_proj", "out_proj"].flatMap((part) =>
        linear(`${at}self_attn.${part}`, hidden, hidden, true)
      ),
      ...norm(`${at}layer_norm2`, hidden),
      ...linear(`${at}mlp.fc1`, intermediate, hidden, true),
      ...linear(`${at}mlp.fc2`, hidden, intermediate, true),
    );
  }
  return out;
}

function projectorTensors(vision: VisionConfig, textHidden: number, prefix: string): RequiredTensor[] {
  const inputs = vision.hidden * vision.featureLayers.length;
  return [
    ...linear(`${prefix}linear_1`, textHidden, inputs, vision.projectorBias),
    ...linear(`${prefix}linear_2`, textHidden, textHidden, vision.projectorBias),
  ];
}

function vector(name: string, size: number): RequiredTensor {
  return { name, shape: [size] };
}

function norm(name: string, size: number): RequiredTensor[] {
  return [vector(`${name}.weight`, size), vector(`${name}.bias`, size)];
}

function linear(name: string, outputs: number, inputs: number, bias: boolean): RequiredTensor[] {
  const weight = { name: `${name}.weight`, shape: [outputs, inputs] };
  return bias ? [weight, vector(`${name}.bias`, outputs)] : [weight];
}
