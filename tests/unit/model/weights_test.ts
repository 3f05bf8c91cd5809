import { deepEqual, equal, throws } from "node:assert/strict";
import { Checkpoint } from "../../../lib/model/checkpoint.ts";
import type { ModelConfig } from "../../../lib/model/config.ts";
import { familyOf } from "../../../lib/model/families/mod.ts";
import type { Family } from "../../../lib/model/families/family.ts";
import { JsonObject } from "../../../lib/model/json.ts";
import { Safetensors } from "../../../lib/model/safetensors.ts";
import { requiredTensors, resolveNames, validateWeights } from "../../../lib/model/weights.ts";
import { safetensorsBytes, zeros } from "../../support/model_files.ts";

const TEXT = {
  hidden_size: 8,
  intermediate_size: 12,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  num_hidden_layers: 2,
  vocab_size: 5,
};
const VISION = {
  hidden_size: 4,
  intermediate_size: 8,
  num_attention_heads: 1,
  num_hidden_layers: 3,
  image_size: 4,
  patch_size: 2,
};

function read(fields: Record<string, unknown>): { family: Family; config: ModelConfig } {
  const json = new JsonObject("config.json", fields);
  const family = familyOf(json);
  return { family, config: family.readConfig(json) };
}

function llava(fields: Record<string, unknown> = {}) {
  return read({
    architectures: ["LlavaForConditionalGeneration"],
    text_config: TEXT,
    vision_config: { model_type: "clip_vision_model", ...VISION },
    ...fields,
  });
}

function checkpoint(shapes: ReadonlyMap<string, readonly number[]>): Checkpoint {
  const bytes = safetensorsBytes(
    Object.fromEntries([...shapes].map(([name, shape]) => [name, zeros(shape)])),
  );
  const file = new Safetensors({
    name: "w.safetensors",
    size: bytes.length,
    read: (first, count) => bytes.slice(first, first + count),
  });
  return new Checkpoint("w.safetensors", new Map(file.names().map((name) => [name, file])));
}

/** A complete checkpoint whose tensors stand under these names. */
function complete(
  config: ModelConfig,
  names: Parameters<typeof requiredTensors>[1],
): Map<string, readonly number[]> {
  return new Map(requiredTensors(config, names).map(({ name, shape }) => [name, shape]));
}

const HUB = {
  text: "language_model.model.",
  head: "language_model.lm_head.weight",
  vision: "vision_tower.vision_model.",
  projector: "multi_modal_projector.",
};

Deno.test("resolveNames finds the tensors in the layout of every exporter", () => {
  const { family, config } = llava();
  const layouts = [
    HUB,
    { ...HUB, vision: "vision_tower." },
    {
      text: "model.language_model.",
      head: "lm_head.weight",
      vision: "model.vision_tower.vision_model.",
      projector: "model.multi_modal_projector.",
    },
    {
      text: "model.language_model.",
      head: "lm_head.weight",
      vision: "model.vision_tower.",
      projector: "model.multi_modal_projector.",
    },
  ];
  for (const names of layouts) {
    const found = checkpoint(complete(config, names));
    deepEqual(resolveNames(family.prefixes, config, found), names);
    validateWeights(config, names, found);
  }
});

Deno.test("requiredTensors asks for shapes with grouped KV heads, and for no output embedding when it is tied", () => {
  const { family, config } = read({
    architectures: ["Qwen2ForCausalLM"],
    ...TEXT,
    tie_word_embeddings: true,
  });
  const names = resolveNames(family.prefixes, config, checkpoint(new Map()));
  deepEqual(names, { text: "model.", head: "model.embed_tokens.weight", vision: null, projector: null });
  const shapes = complete(config, names);
  deepEqual(shapes.get("model.layers.1.self_attn.q_proj.weight"), [8, 8]);
  deepEqual(shapes.get("model.layers.1.self_attn.k_proj.weight"), [4, 8]);
  deepEqual(shapes.get("model.layers.1.self_attn.v_proj.bias"), [4]);
  equal(shapes.has("model.layers.1.self_attn.o_proj.bias"), false);
  equal(shapes.has("lm_head.weight"), false);
});

Deno.test("requiredTensors asks for the tower's layers up to the last feature layer only", () => {
  const { config } = llava({ vision_feature_layer: [-3, 0] });
  const shapes = complete(config, HUB);
  equal(shapes.has("vision_tower.vision_model.encoder.layers.0.mlp.fc2.bias"), true);
  equal(shapes.has("vision_tower.vision_model.encoder.layers.1.mlp.fc2.bias"), false);
  // 2 × 2 patches and the class token; two layers side by side enter the projector.
  deepEqual(shapes.get("vision_tower.vision_model.embeddings.position_embedding.weight"), [5, 4]);
  deepEqual(shapes.get("multi_modal_projector.linear_1.weight"), [8, 8]);
});

Deno.test("requiredTensors asks a SigLIP tower for a patch bias and no class token", () => {
  const { config } = llava({ vision_config: { model_type: "siglip_vision_model", ...VISION } });
  const shapes = complete(config, HUB);
  deepEqual(shapes.get("vision_tower.vision_model.embeddings.patch_embedding.bias"), [4]);
  equal(shapes.has("vision_tower.vision_model.embeddings.class_embedding"), false);
  equal(shapes.has("vision_tower.vision_model.pre_layrnorm.weight"), false);
});

Deno.test("validateWeights names every tensor that can be missing, with its shape", () => {
  const { config } = llava();
  const shapes = complete(config, HUB);
  for (const [name, shape] of shapes) {
    const without = new Map(shapes);
    without.delete(name);
    throws(() => validateWeights(config, HUB, checkpoint(without)), {
      name: "StartError",
      message: `w.safetensors: tensor "${name}" is missing, expected shape [${shape.join(", ")}]`,
    });
  }
});

Deno.test("validateWeights says what shape was found where another was expected", () => {
  const { config } = llava();
  for (const [shape, found] of [[[8, 5], "[8, 5]"], [[40], "[40]"], [[5, 8, 1], "[5, 8, 1]"]] as const) {
    const shapes = complete(config, HUB).set("language_model.lm_head.weight", shape);
    throws(() => validateWeights(config, HUB, checkpoint(shapes)), {
      name: "StartError",
      message: `w.safetensors: tensor "language_model.lm_head.weight" has shape ${found}, expected [5, 8]`,
    });
  }
});
