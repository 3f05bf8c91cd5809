import { deepEqual, equal, throws } from "node:assert/strict";
import { familyOf } from "../../../../lib/model/families/mod.ts";
import { JsonObject } from "../../../../lib/model/json.ts";

function read(architecture: string, fields: Record<string, unknown> = {}) {
  const config = new JsonObject("config.json", { architectures: [architecture], ...fields });
  return familyOf(config).readConfig(config);
}

Deno.test("llama puts a bias on all projections of attention, and on the MLP, when its config says so", () => {
  const { text } = read("LlamaForCausalLM", { attention_bias: true, mlp_bias: true });
  deepEqual([text.qkvBias, text.outputBias, text.mlpBias], [true, true, true]);
  const plain = read("LlamaForCausalLM").text;
  deepEqual([plain.qkvBias, plain.outputBias, plain.mlpBias], [false, false, false]);
});

Deno.test("llama takes head_dim from its config before it divides", () => {
  const shape = { hidden_size: 96, num_attention_heads: 4 };
  equal(read("LlamaForCausalLM", shape).text.headDim, 24);
  equal(read("LlamaForCausalLM", { ...shape, head_dim: 32 }).text.headDim, 32);
  equal(read("LlamaForCausalLM", { ...shape, head_dim: null }).text.headDim, 24);
});

Deno.test("llama has as many KV heads as heads where its config says nothing or null", () => {
  const heads = { num_attention_heads: 8 };
  equal(read("LlamaForCausalLM", heads).text.kvHeads, 8);
  equal(read("MistralForCausalLM", { ...heads, num_key_value_heads: null }).text.kvHeads, 8);
  equal(read("LlamaForCausalLM", { ...heads, num_key_value_heads: 2 }).text.kvHeads, 2);
});

Deno.test("mistral has a window of 4096 unless its config gives another, null, or fewer positions", () => {
  equal(read("MistralForCausalLM").text.slidingWindow, 4096);
  equal(read("MistralForCausalLM", { sliding_window: 1024 }).text.slidingWindow, 1024);
  equal(read("MistralForCausalLM", { sliding_window: null }).text.slidingWindow, null);
  equal(read("MistralForCausalLM", { max_position_embeddings: 4096 }).text.slidingWindow, null);
});

Deno.test("qwen2 always has biases on q, k and v, never on the output", () => {
  const { text } = read("Qwen2ForCausalLM", { attention_bias: false });
  deepEqual([text.qkvBias, text.outputBias], [true, false]);
});

Deno.test("qwen2 has a window only where it is switched on and some layer is behind max_window_layers", () => {
  const window = (fields: Record<string, unknown>) =>
    read("Qwen2ForCausalLM", { sliding_window: 512, num_hidden_layers: 24, ...fields }).text.slidingWindow;
  equal(window({ max_window_layers: 0 }), null);
  equal(window({ use_sliding_window: true, max_window_layers: 24 }), null);
  equal(window({ use_sliding_window: true, max_window_layers: 23 }), 512);
  equal(window({ use_sliding_window: true, max_window_layers: 0, sliding_window: null }), null);
});

const LLAMA3 = {
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
const LLAMA3_READ = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalPositions: 8192 };

Deno.test("readRope reads rope_theta and rope_scaling of older configs, with type or rope_type", () => {
  const rope = (rope_scaling: unknown) =>
    read("LlamaForCausalLM", { rope_theta: 5e5, rope_scaling }).text.rope;
  deepEqual(rope(null), { theta: 5e5, llama3: null });
  deepEqual(rope({ rope_type: "llama3", ...LLAMA3 }), { theta: 5e5, llama3: LLAMA3_READ });
  deepEqual(rope({ type: "llama3", ...LLAMA3 }), { theta: 5e5, llama3: LLAMA3_READ });
  deepEqual(rope({ type: "default" }), { theta: 5e5, llama3: null });
});

Deno.test("readRope reads rope_parameters of newer configs, which win", () => {
  const rope = (rope_parameters: unknown) =>
    read("LlamaForCausalLM", { rope_theta: 3, rope_parameters }).text.rope;
  deepEqual(rope({ rope_theta: 1e6, rope_type: "default" }), { theta: 1e6, llama3: null });
  deepEqual(rope({ rope_theta: 5e5, rope_type: "llama3", ...LLAMA3 }), { theta: 5e5, llama3: LLAMA3_READ });
  equal(read("LlamaForCausalLM").text.rope.theta, 10000);
});

const refused: readonly (readonly [fields: Record<string, unknown>, message: RegExp])[] = [
  [
    { rope_scaling: { type: "linear", factor: 2 } },
    /rope_scaling\.type must be default or llama3, found "linear"/,
  ],
  [
    { rope_parameters: { rope_type: "yarn" } },
    /rope_parameters\.rope_type must be default or llama3, found "yarn"/,
  ],
  [
    { rope_scaling: { rope_type: "llama3" } },
    /max_position_embeddings must be|rope_scaling\.factor must be a number, found nothing/,
  ],
  [{ partial_rotary_factor: 0.5 }, /partial_rotary_factor must be 1, found 0\.5/],
  [
    { num_attention_heads: 6, num_key_value_heads: 4 },
    /num_key_value_heads must be a divisor of num_attention_heads \(6\), found 4/,
  ],
  [{ hidden_size: 66, num_attention_heads: 2 }, /hidden_size must be a multiple of 4, found 66/],
  [{ head_dim: 6 }, /head_dim must be a multiple of 4 a head/],
  [{ intermediate_size: 10 }, /intermediate_size must be a multiple of 4, found 10/],
  [{ num_hidden_layers: 0 }, /num_hidden_layers must be a whole number of at least 1, found 0/],
  [{ hidden_size: "64" }, /hidden_size must be a whole number of at least 1, found "64"/],
  [{ hidden_act: "toString" }, /hidden_act must be one of/],
  [{ attention_bias: 1 }, /attention_bias must be true or false, found 1/],
];

for (const [fields, message] of refused) {
  Deno.test(`llama refuses ${JSON.stringify(fields)}`, () => {
    throws(() => read("LlamaForCausalLM", fields), { name: "StartError", message });
  });
}

Deno.test("familyOf lists what is supported when the architecture is unknown or absent", () => {
  const list = "LlavaForConditionalGeneration, LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM";
  throws(() => read("MambaForCausalLM"), {
    name: "StartError",
    message: `config.json has the architecture MambaForCausalLM; supported are ${list}`,
  });
  throws(() => familyOf(new JsonObject("config.json", {})), {
    message: `config.json names no architecture; supported are ${list}`,
  });
});
