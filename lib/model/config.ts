/** A model's shape as the engine needs it, read from `config.json` by `families/<family>.ts`. */
import type { Activation } from "../ops/backend.ts";

export interface RopeConfig {
  readonly theta: number;
  /** llama3 scaling (Llama 3.1 and later); null for plain RoPE. */
  readonly llama3: {
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalPositions: number;
  } | null;
}

export interface TextConfig {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly intermediate: number;
  readonly vocab: number;
  readonly normEps: number;
  readonly activation: Activation;
  readonly rope: RopeConfig;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly tiedEmbeddings: boolean;
  readonly maxPositions: number;
  /** Positions beyond which attention would need a window; null when there is none. The server never goes beyond it. */
  readonly slidingWindow: number | null;
}

export interface VisionConfig {
  readonly tower: "clip" | "siglip";
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly activation: Activation;
  readonly normEps: number;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly classToken: boolean;
  /** Indices into hidden_states, 0 … layers (0 is the input of the first block), already non-negative; concatenated. */
  readonly featureLayers: readonly number[];
  /** `default` drops the first row (the class token), `full` keeps all rows. */
  readonly selectStrategy: "default" | "full";
  /** Features, and so prompt tokens, of one picture. */
  readonly imageTokens: number;
  readonly projectorActivation: Activation;
  readonly projectorBias: boolean;
}

/** Where each tensor of the model may be called, in the order to try; found by the family. */
export interface WeightNames {
  readonly text: string; // prefix such that `${text}layers.0.self_attn.q_proj.weight` exists, e.g. "model."
  readonly head: string; // name of the output embedding, e.g. "lm_head.weight"
  readonly vision: string | null; // prefix such that `${vision}encoder.layers.0.layer_norm1.weight` exists
  readonly projector: string | null; // prefix such that `${projector}linear_1.weight` exists
}

export interface ModelConfig {
  /** class in config.json, e.g. LlavaForConditionalGeneration. */
  readonly architecture: string;
  readonly text: TextConfig;
  readonly vision: VisionConfig | null;
  /** Placeholder token of a picture; null for a text-only model. */
  readonly imageTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly bosTokenId: number | null;
}

/** Defaults of `generation_config.json`. */
export interface GenerationDefaults {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly maxNewTokens: number | null;
}
