/**
 * What the scheduler is given: one device that runs one step at a time. Plain data both ways, so that the engine can
 * be a Worker today and a child process tomorrow. It knows page numbers and token ids; it knows no text and no pool.
 */
import type { KvBits, KvDtype } from "../ops/kv.ts";
import type { HeadShape } from "../ops/backend.ts";
import type { Compression, ImageSpan, SlotSpan } from "./compress/method.ts";
import type { Need } from "./compress/need.ts";

/** Facts fixed at load, that the scheduler plans with. */
export interface EngineFacts {
  readonly backend: string;
  readonly adapter: string;
  readonly software: boolean;
  readonly features: readonly string[];
  readonly layers: number;
  readonly shape: HeadShape;
  readonly vocabSize: number;
  readonly kvDtype: KvDtype;
  readonly pageBytes: number;
  readonly pageSlots: number;
  readonly pageCount: number;
  /** Rows of the store that holds picture features; 0 for a text-only model. */
  readonly embeddingRows: number;
  /** Most tokens one forward step takes. */
  readonly stepTokensMax: number;
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

/** What prefill keeps of a prompt for its compression, and where: pages of the pool that nothing else uses. */
export interface SequenceKeep {
  readonly need: Need;
  /** At least needBytes of them, contents undefined at first. */
  readonly pages: Uint32Array;
  /** Tokens of the whole prompt. */
  readonly promptTokens: number;
}

/** Slots of a sequence that are stored as codes of few bits, from slot 0 on; those behind them are in its page tables. */
export interface PackedSlots {
  readonly bits: KvBits;
  /** Per layer, as `packedByLayer` says. */
  readonly slots: Uint32Array;
  /** Pages of the codes, packedBytes of them, layer after layer. */
  readonly pages: Uint32Array;
  /** Pages that one layer at a time is unpacked into, for as many slots as any layer has packed. */
  readonly room: Uint32Array;
}

/** One sequence's part in a forward step: a chunk of its prompt, or its last token. */
export interface ForwardSequence {
  /** Token ids; a picture's token is FEATURE_ROW + row of the embedding store. */
  readonly tokens: Uint32Array;
  /** RoPE positions, three a token (M-RoPE); plain text has three equal ones. */
  readonly positions: Uint32Array;
  /** Slots already stored, per layer. */
  readonly slotBase: Uint32Array;
  /** Page numbers, per layer; long enough for slotBase + tokens, less the packed slots. */
  readonly pageTables: readonly Uint32Array[];
  /** How to sample after the last token of this part; null while the prompt goes on. */
  readonly sampling: SamplingParams | null;
  /** Tokens this sequence has sampled before (the counter of its random numbers). */
  readonly sampled: number;
  /** In every part of a prompt whose compression needs something kept; the same pages each time. */
  readonly keep?: SequenceKeep | null;
  readonly packed?: PackedSlots | null;
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
  readonly compression: Compression;
  /** Per layer: slots stored now, slots that remain (as `keptByLayer` says), source pages, target pages (disjoint). */
  readonly slots: Uint32Array;
  readonly kept: Uint32Array;
  readonly sourceTables: readonly Uint32Array[];
  readonly targetTables: readonly Uint32Array[];
  /** What prefill kept, as it was given to `forward`; null for methods that need nothing. */
  readonly keep: SequenceKeep | null;
  /**
   * Where the kept slots are packed once they stand in the target pages; null without quantisation. Afterwards a layer's
   * target pages of its packed slots are free (the room may be among them), and its page table is what is left of them.
   */
  readonly packed: PackedSlots | null;
  /** 64-bit seed of the request as two words. */
  readonly seed: readonly [number, number];
  /** Slots that stand for pictures, ascending. */
  readonly images: readonly ImageSpan[];
  /** Slots that stay whatever the method would choose, ascending; none when absent. */
  readonly protect?: readonly SlotSpan[];
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
