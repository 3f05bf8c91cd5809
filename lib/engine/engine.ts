/**
 * What the scheduler is given: one device that runs one step at a time. Plain data both ways, so that the engine can
 * be a Worker today and a child process tomorrow. It knows page numbers and token ids; it knows no text and no pool.
 */
import type { KvDtype } from "../ops/kv.ts";
import type { CompressionMethod } from "./compress/mod.ts";
import type { ImageSpan, LearnedFacts } from "./compress/segments.ts";

/** Facts fixed at load, that the scheduler plans with. */
export interface EngineFacts {
  readonly backend: string;
  readonly adapter: string;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly layers: number;
  readonly vocabSize: number;
  readonly kvDtype: KvDtype;
  readonly pageBytes: number;
  readonly pageSlots: number;
  readonly pageCount: number;
  /** Rows of the store that holds picture features; 0 for a text-only model. */
  readonly embeddingRows: number;
  /** Most tokens one forward step takes. */
  readonly stepTokensMax: number;
  /** What the learned method was trained for, by ascending factor. */
  readonly compressors: readonly LearnedFacts[];
  /** Milliseconds of the load, by part, for the log. */
  readonly loadMs: Readonly<Record<string, number>>;
}

/** One preprocessed picture. */
export interface EncodeImage {
  /** Normalised pixels [3, height, width] as the processor made them. */
  readonly pixels: Float32Array;
  readonly height: number;
  readonly width: number;
  /** Row of the embedding store where its features begin. */
  readonly embeddingRow: number;
  /** Features it yields (known from its size). */
  readonly embeddingRows: number;
}

export interface SamplingParams {
  /** 0 is greedy. */
  readonly temperature: number;
  /** 1 is off. */
  readonly topP: number;
  /** 0 is off. */
  readonly minP: number;
  /** 0 is off. */
  readonly topK: number;
  /** 64-bit seed as two words. */
  readonly seed: readonly [number, number];
  /** Alternatives to report; null for no log-probabilities at all. */
  readonly logprobs: number | null;
}

/** One sequence's part in a forward step: a chunk of its prompt, or its last token. */
export interface ForwardSequence {
  /** Token ids; a picture's token is FEATURE_ROW + row of the embedding store. */
  readonly tokens: Uint32Array;
  /** RoPE positions, three a token (M-RoPE); plain text has three equal ones. */
  readonly positions: Uint32Array;
  /** Slots already stored, per layer. */
  readonly slotBase: Uint32Array;
  /** Page numbers, per layer; long enough for slotBase + tokens. */
  readonly pageTables: readonly Uint32Array[];
  /** How to sample after the last token of this part; null while the prompt goes on. */
  readonly sampling: SamplingParams | null;
  /** Tokens this sequence has sampled before (the counter of its random numbers). */
  readonly sampled: number;
}

export interface SampledToken {
  readonly id: number;
  /** Log-softmax of the unmodified logits; null unless asked for. */
  readonly logprob: number | null;
  /** Best alternatives, descending. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** One sequence to compress. All layers of a sequence go in one batch. */
export interface CompressSequence {
  readonly method: CompressionMethod;
  /** Fraction removed, 0 < ratio < 1. */
  readonly ratio: number;
  /** Per layer: slots stored now, slots that remain (as `keptSlots` says), source pages, target pages (disjoint). */
  readonly slots: Uint32Array;
  readonly kept: Uint32Array;
  readonly sourceTables: readonly Uint32Array[];
  readonly targetTables: readonly Uint32Array[];
  /** Where the prompt's pictures are, ascending. */
  readonly images: readonly ImageSpan[];
}

export interface Engine {
  readonly facts: EngineFacts;
  /** Writes the pictures' features into the embedding store. */
  encode(images: readonly EncodeImage[]): Promise<void>;
  /**
   * One forward pass over a ragged batch: keys and values of every token are stored, and one token is sampled for each
   * sequence that has `sampling`. Results are in the order of `sequences`, null where nothing was sampled. A result of
   * "not_finite" says that this row's logits were not numbers; the others stand.
   */
  forward(sequences: readonly ForwardSequence[]): Promise<(SampledToken | "not_finite" | null)[]>;
  /** Writes shorter caches into the target pages. The source pages are free again when it resolves. */
  compress(sequences: readonly CompressSequence[]): Promise<void>;
  /** Bytes of device memory in use. */
  liveBytes(): Promise<number>;
  close(): Promise<void>;
}
