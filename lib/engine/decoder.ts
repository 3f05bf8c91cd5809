/** The text model in operations: Llama's block (pre-norm, RoPE, grouped queries, gated MLP), also Mistral's and Qwen2's. */
import type { Backend, HeadShape, Step } from "../ops/backend.ts";
import type { KvMap, KvPages } from "../ops/kv.ts";
import { keepRotated, keepUnrotated, type StepKeeps } from "./compress/keep.ts";
import type { LayerUnpacking } from "./compress/pack.ts";
import type { Indices, Matrix, Tensor } from "../ops/tensor.ts";
import type { TextConfig, WeightNames } from "../model/config.ts";
import { loadMatrix, loadVector, type WeightSource } from "./weights.ts";
import type { Observe } from "./observe.ts";

interface Layer {
  readonly attentionNorm: Tensor;
  readonly qkv: Matrix;
  readonly qkvBias: Tensor | null;
  readonly output: Matrix;
  readonly outputBias: Tensor | null;
  readonly mlpNorm: Tensor;
  readonly gateUp: Matrix;
  readonly gateUpBias: Tensor | null;
  readonly down: Matrix;
  readonly downBias: Tensor | null;
}

/** What one forward pass reads beside the weights. */
export interface DecoderInput {
  /** Token ids [T], FEATURE_ROW + row for rows of `features`. */
  readonly tokens: Indices;
  readonly features: Tensor | null;
  /** [T, headDim], see Rotary. */
  readonly rotary: Tensor;
  readonly pages: KvPages;
  readonly map: KvMap;
  /** What is kept of prompts for their compression. */
  readonly keeps: readonly StepKeeps[];
  /** Per layer, what is unpacked for it. */
  readonly unpacking: readonly LayerUnpacking[];
  /** Rows of the batch whose logits are wanted. */
  readonly rows: Indices;
}

export class Decoder {
  readonly #embedding: Matrix;
  readonly #layers: readonly Layer[];
  readonly #finalNorm: Tensor;
  readonly #head: Matrix;
  readonly shape: HeadShape;
  readonly #scale: number;

  /** Loads all weights. Throws StartError through `source` when one is missing. */
  constructor(backend: Backend, readonly config: TextConfig, names: WeightNames, source: WeightSource) {
    const { heads, kvHeads, headDim } = config;
    this.shape = { heads, kvHeads, headDim };
    this.#scale = 1 / Math.sqrt(headDim);
    this.#embedding = loadMatrix(backend, source, [`${names.text}embed_tokens.weight`]);
    this.#layers = Array.from({ length: config.layers }, (_, index) => {
      const name = (part: string) => `${names.text}layers.${index}.${part}`;
      const vector = (wanted: boolean, ...parts: string[]) =>
        wanted ? loadVector(backend, source, parts.map(name)) : null;
      const matrix = (...parts: string[]) => loadMatrix(backend, source, parts.map(name), true);
      return {
        attentionNorm: loadVector(backend, source, [name("input_layernorm.weight")]),
        qkv: matrix("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
        qkvBias: vector(
          config.qkvBias,
          "self_attn.q_proj.bias",
          "self_attn.k_proj.bias",
          "self_attn.v_proj.bias",
        ),
        output: matrix("self_attn.o_proj.weight"),
        outputBias: vector(config.outputBias, "self_attn.o_proj.bias"),
        mlpNorm: loadVector(backend, source, [name("post_attention_layernorm.weight")]),
        gateUp: matrix("mlp.gate_proj.weight", "mlp.up_proj.weight"),
        gateUpBias: vector(config.mlpBias, "mlp.gate_proj.bias", "mlp.up_proj.bias"),
        down: matrix("mlp.down_proj.weight"),
        downBias: vector(config.mlpBias, "mlp.down_proj.bias"),
      };
    });
    this.#finalNorm = loadVector(backend, source, [`${names.text}norm.weight`]);
    this.#head = config.tiedEmbeddings ? this.#embedding : loadMatrix(backend, source, [names.head]);
  }

  /** Widest row of any scratch tensor, in elements: bounds the tokens of one step. */
  static widestRow(config: TextConfig): number {
    return Math.max(
      config.hidden,
      2 * config.intermediate,
      (config.heads + 2 * config.kvHeads) * config.headDim,
    );
  }

  /** Records one pass; returns logits [rows, vocab], or null when no rows are wanted. Keys and values of every token are stored. */
  record(step: Step, input: DecoderInput, observe: Observe | null = null): Tensor | null {
    const { config } = this;
    const tokens = input.map.tokens;
    const x = step.tensor(tokens, config.hidden);
    step.embed({ table: this.#embedding, features: input.features, tokens: input.tokens, out: x });
    observe?.("text.inputs_embeds", x);
    const wanted = input.rows.values.length;
    // Behind the last layer's keys and values only the wanted rows matter; an observer wants to see all of them.
    const last = this.#layers.length - 1;
    let rows = x;
    for (const [index, layer] of this.#layers.entries()) {
      const all = index < last || observe !== null;
      const mixed = this.#attention(step, input, layer, index, x, all || wanted > 0, observe);
      if (mixed === null) return null;
      rows = all ? x : this.#pick(step, x, input.rows);
      this.#output(step, layer, all ? mixed : this.#pick(step, mixed, input.rows), rows);
      this.#mlp(step, layer, rows);
      observe?.(`text.layer.${index}.output`, x);
    }
    if (observe !== null) {
      const all = step.tensor(tokens, config.hidden);
      step.rmsNorm({ x, weight: this.#finalNorm, eps: config.normEps, out: all });
      observe("text.final_norm", all);
      if (wanted > 0) rows = this.#pick(step, x, input.rows);
    }
    if (wanted === 0) return null;
    const normed = step.tensor(wanted, config.hidden);
    step.rmsNorm({ x: rows, weight: this.#finalNorm, eps: config.normEps, out: normed });
    const logits = step.tensor(wanted, config.vocab);
    step.matmul({ x: normed, weight: this.#head, out: logits });
    observe?.("logits.last", logits);
    return logits;
  }

  /** The rows whose logits are wanted, in a tensor of their own; `x` is released. */
  #pick(step: Step, x: Tensor, rows: Indices): Tensor {
    const out = step.tensor(rows.values.length, x.cols);
    step.gatherRows({ x, rows, out });
    step.release(x);
    return out;
  }

  /** Stores keys and values of all tokens; returns what the heads read, or null unless it is `needed`. */
  #attention(
    step: Step,
    input: DecoderInput,
    layer: Layer,
    index: number,
    x: Tensor,
    needed: boolean,
    observe: Observe | null,
  ): Tensor | null {
    const { config } = this;
    const { shape } = this;
    const normed = step.tensor(x.rows, config.hidden);
    step.rmsNorm({ x, weight: layer.attentionNorm, eps: config.normEps, out: normed });
    const qkv = step.tensor(x.rows, layer.qkv.rows);
    step.matmul({ x: normed, weight: layer.qkv, bias: layer.qkvBias, out: qkv });
    step.release(normed);
    const { pages, map, rotary, keeps } = input;
    const kept = { qkv, shape, pages, map, layer: index };
    keepUnrotated(step, keeps, kept);
    step.ropeWriteKv({ qkv, rotary, shape, pages, map, layer: index });
    keepRotated(step, keeps, kept, this.#scale);
    observe?.(`text.layer.${index}.qkv`, qkv);
    if (!needed) {
      step.release(qkv);
      return null;
    }
    for (const { bits, jobs } of input.unpacking[index]) step.kvUnpack({ pages, jobs, bits });
    const mixed = step.tensor(x.rows, config.heads * config.headDim);
    step.pagedAttention({ qkv, shape, scale: this.#scale, pages, map, layer: index, out: mixed });
    step.release(qkv);
    return mixed;
  }

  /** Adds the output projection of `mixed`, which is released, to `x`. */
  #output(step: Step, layer: Layer, mixed: Tensor, x: Tensor): void {
    step.matmul({ x: mixed, weight: layer.output, bias: layer.outputBias, residual: x, out: x });
    step.release(mixed);
  }

  #mlp(step: Step, layer: Layer, x: Tensor): void {
    const { config } = this;
    const normed = step.tensor(x.rows, config.hidden);
    step.rmsNorm({ x, weight: layer.mlpNorm, eps: config.normEps, out: normed });
    const gateUp = step.tensor(x.rows, layer.gateUp.rows);
    step.matmul({ x: normed, weight: layer.gateUp, bias: layer.gateUpBias, out: gateUp });
    step.release(normed);
    const hidden = step.tensor(x.rows, config.intermediate);
    step.gated({ x: gateUp, activation: config.activation, out: hidden });
    step.release(gateUp);
    step.matmul({ x: hidden, weight: layer.down, bias: layer.downBias, residual: x, out: x });
    step.release(hidden);
  }
}
