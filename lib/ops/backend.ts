import type { Indices, Matrix, MatrixDtype, Tensor, TensorDtype } from "./tensor.ts";
import type { KvBits, KvJobs, KvKeeps, KvMap, KvPages, KvShape } from "./kv.ts";

/**
 * The operation contract. The model code is written once in these operations; a backend implements all of them:
 * WGSL (`lib/gpu`) and plain f64 TypeScript (`tests/reference`, the oracle). Nothing above this file knows
 * which one runs. Every sum is taken in f32 or wider in an order that does not depend on the number of rows, so a
 * row's result does not depend on its batch.
 */
export type Activation = "none" | "silu" | "gelu" | "gelu_tanh" | "quick_gelu" | "relu";

/** Heads of an attention operation. `heads` is a multiple of `kvHeads`; `headDim` a multiple of 4. */
export interface HeadShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** What a device can do and what it is, as data. */
export interface Capabilities {
  readonly backend: string;
  /** The adapter's own name. */
  readonly adapter: string;
  /** True when the adapter is a processor in disguise. */
  readonly software: boolean;
  /** Features in use, for the log and `doctor`. */
  readonly features: readonly string[];
  /** Largest KV pool it can address, bytes. */
  readonly kvBytesMax: number;
  /** Largest tensor, bytes (matrices may be larger: a backend cuts them). */
  readonly tensorBytesMax: number;
}

export interface Backend {
  readonly capabilities: Capabilities;

  /** A persistent tensor: vectors, biases, tables, the embedding store. Zero without `data`. */
  createTensor(rows: number, cols: number, data?: Float32Array): Tensor;
  /**
   * A weight matrix to be filled by {@link writeMatrix}. `cols` is a multiple of 4. `quantise` allows a backend that is
   * configured so to store it in fewer bits; without it the matrix keeps its values exactly.
   */
  createMatrix(rows: number, cols: number, dtype: MatrixDtype, quantise?: boolean): Matrix;
  /** Writes whole rows as stored on disk (little-endian, row-major), from `firstRow` on. `bytes` may be reused after. */
  writeMatrix(matrix: Matrix, firstRow: number, bytes: Uint8Array): void;
  createKvPages(shape: KvShape): KvPages;
  /** Frees one persistent object. */
  destroyTensor(tensor: Tensor): void;
  destroyMatrix(matrix: Matrix): void;
  destroyKvPages(pages: KvPages): void;

  /** Starts recording a step. At most one step is open at a time. */
  begin(): Step;
  /** Bytes of device memory held now by this backend (leak checks). */
  liveBytes(): number;
  close(): void;
}

/** A recorded step: operations run in the order in which they were called, when `finish` is called or before. */
export interface Step {
  /** Scratch of this step, contents undefined until written. Rows may be 0 nowhere: every shape is at least 1 × 1. */
  tensor(rows: number, cols: number, dtype?: TensorDtype): Tensor;
  /** Scratch filled from the host. */
  upload(rows: number, cols: number, data: Float32Array): Tensor;
  /** Integers of this step, filled from the host; may be empty, which no operation reads. */
  indices(values: Uint32Array): Indices;
  /** Gives scratch back early; a later operation of the step may reuse its memory. A view goes with its tensor. */
  release(tensor: Tensor): void;
  /** The same memory under another shape with as many elements (row-major, so this is a reshape without a copy). */
  view(tensor: Tensor, rows: number, cols: number): Tensor;

  /**
   * embed: out[t] = tokens[t] < 2^31 ? table[tokens[t]] : features[tokens[t] − 2^31]
   * table [vocab, dim], features [rows, dim], tokens [T], out [T, dim].
   */
  embed(o: { table: Matrix; features: Tensor | null; tokens: Indices; out: Tensor }): void;
  /** gather_rows: out[i] = x[rows[i]]. x [·, dim], out [n, dim]. */
  gatherRows(o: { x: Tensor; rows: Indices; out: Tensor }): void;
  /** scatter_rows: out[rows[i]] = x[i]. x [n, dim], out [·, dim]; rows distinct. */
  scatterRows(o: { x: Tensor; rows: Indices; out: Tensor }): void;

  /** rms_norm: y[t,d] = x[t,d] · weight[d] / sqrt(mean_d(x²) + eps). weight [1, dim]. out may not be x. */
  rmsNorm(o: { x: Tensor; weight: Tensor; eps: number; out: Tensor }): void;
  /** layer_norm: y = (x − mean) / sqrt(var + eps) · weight + bias, per row, biased variance. */
  layerNorm(o: { x: Tensor; weight: Tensor; bias: Tensor; eps: number; out: Tensor }): void;

  /**
   * matmul: out[m,n] = residual[m,n] + activation(Σ_k x[m,k] · weight[n,k] + bias[n]); k ascending, one chain an output.
   * x [M, K], weight [N, K], bias [1, N], residual and out [M, N]; residual may be out itself.
   */
  matmul(
    o: {
      x: Tensor;
      weight: Matrix;
      bias?: Tensor | null;
      activation?: Activation;
      residual?: Tensor | null;
      out: Tensor;
    },
  ): void;
  /** gated: out[t,i] = activation(x[t,i]) · x[t, I + i]. x [T, 2·I], out [T, I]. */
  gated(o: { x: Tensor; activation: Activation; out: Tensor }): void;

  /**
   * rope_write_kv: rotates the query and key heads of qkv in place and writes key and value to their slot.
   * qkv [T, (heads + 2·kvHeads)·headDim], heads in the order q…, k…, v…. rotary [T, headDim]: cos (headDim/2), then sin.
   * Pairs (i, i + headDim/2): (a, b) → (a·cos − b·sin, b·cos + a·sin), as Hugging Face lays weights out.
   */
  ropeWriteKv(
    o: { qkv: Tensor; rotary: Tensor; shape: HeadShape; pages: KvPages; map: KvMap; layer: number },
  ): void;
  /**
   * paged_attention: out[t,h] = Σ_slot softmax_slot(scale · q·K) · V over the slots that token t sees (see KvMap).
   * Query head h reads KV head floor(h · kvHeads / heads). qkv as above, after rope_write_kv. out [T, heads·headDim].
   */
  pagedAttention(
    o: {
      qkv: Tensor;
      shape: HeadShape;
      scale: number;
      pages: KvPages;
      map: KvMap;
      layer: number;
      out: Tensor;
    },
  ): void;
  /**
   * segment_attention: bidirectional attention inside segments of rows. segments: [n + 1] row bounds, ascending,
   * segments[0] = 0. qkv [T, (heads + 2·kvHeads)·headDim], out [T, heads·headDim].
   */
  segmentAttention(o: { qkv: Tensor; shape: HeadShape; scale: number; segments: Indices; out: Tensor }): void;

  /**
   * patchify: out[(i·R + r)·C + c, (ch·P + y)·P + x] = pixels[i, (ch·H + r·P + y)·W + c·P + x], R = H/P and C = W/P rounded down.
   * pixels [images, 3·H·W], out [images·R·C, 3·P·P]: the im2col of a convolution with stride = kernel = P.
   */
  patchify(o: { pixels: Tensor; height: number; width: number; patch: number; out: Tensor }): void;
  /**
   * vision_embed: per image, row 0 is classToken (if any), then the patches, each plus its position's row.
   * patches [images·P, dim], classToken [1, dim] or null, positions [P + (class ? 1 : 0), dim], out [images·(same), dim].
   */
  visionEmbed(
    o: { patches: Tensor; classToken: Tensor | null; positions: Tensor; images: number; out: Tensor },
  ): void;

  /**
   * sample: one token per row of logits [S, V]. params, {@link SAMPLE_WORDS} words a row, see {@link SampleWord}.
   * Greedy when temperature is 0 (ties to the lower id). Otherwise logits/temperature, top-k, top-p, min-p (in this
   * order, ties at a threshold all kept), then Gumbel-max with u from a counter RNG keyed (seed, counter, token id).
   * tokens [S, 1] u32; {@link SAMPLE_NOT_FINITE} marks a row whose largest logit is not a finite number.
   * logprobs, if given, [S, 2 + 2·n] f32: log-softmax of the unmodified logits of the chosen token, n as a float count of
   * entries filled, then n pairs (token id as a float, log-probability) descending, ties to the lower id.
   * Row s fills min(logprobCount of s, n) pairs.
   */
  sample(o: { logits: Tensor; params: Indices; tokens: Tensor; logprobs: Tensor | null }): void;

  /** keep_queries: kept queries (see KvKeeps) of those tokens of the step that are among the last `window` of their prompt. qkv as after rope_write_kv. */
  keepQueries(o: KeepOperands): void;
  /**
   * keep_moments: joins the moments (see KvKeeps) of the step's tokens with those of the sequence's earlier ones. qkv as
   * before rope_write_kv; tokens at positions below the record's setting are left out.
   */
  keepMoments(o: KeepOperands): void;
  /**
   * keep_columns: sums[kvHead, slot] = what was there (0 for slots of this step) + Σ over the step's tokens and the group's
   * query heads of softmax_slot(scale · q·K). qkv as after rope_write_kv.
   */
  keepColumns(o: KeepOperands & { scale: number }): void;

  /** kv_norm: scores[j·kvHeads + h, slot] = −‖K‖₂ of that slot; entries at or past the job's stored slots are undefined. scores [J·kvHeads, slotsMax]. */
  kvNorm(o: { pages: KvPages; jobs: KvJobs; scores: Tensor }): void;
  /** kv_key_diff: scores = −cos(K, anchor), anchor = mean over the job's slots of K / ‖K‖. scores as in kv_norm. */
  kvKeyDiff(o: { pages: KvPages; jobs: KvJobs; scores: Tensor }): void;
  /**
   * kv_lag: behind the first `sinks` slots come partitions of `lag` slots, P = floor((n − sinks) / lag) of them. For each of
   * the first P − 1: x = (K − min) / (max − min) with the least and largest K of the next partition, a channel (0 where
   * they are equal); s = softmax over the partition of the deviation of x over channels (divisor headDim − 1); likewise
   * for V; score = their mean, or unless `cross` the number of slots of the partition below it (ties: lower slot first) / lag.
   * All other slots have score 1. When n < sinks + 2·lag: score = (slot − sinks) / (n − sinks) behind the sinks.
   */
  kvLag(
    o: { pages: KvPages; jobs: KvJobs; sinks: number; lag: number; cross: boolean; scores: Tensor },
  ): void;
  /**
   * kv_window: with w = min(window, n) kept queries of the last tokens: a[kvHead, slot] = mean over the group's query heads
   * and over the window of softmax(scale · q·K), each query over the slots up to its own. For slot < n − w:
   * score = Σ a[slot + d] / kernel over |d| ≤ (kernel − 1) / 2 with 0 ≤ slot + d < n − w, and if `shared` the mean of that over KV
   * heads. Later slots: the largest of these of all heads, + 1. kernel is odd.
   */
  kvWindow(o: ScoreOperands & { scale: number; window: number; kernel: number; shared: boolean }): void;
  /**
   * kv_expected: mean μ and covariance Σ (the kept sum / (n − sinks)) of each query head, both turned by `rotary` [J, headDim]
   * (cos, sin as in rope_write_kv): logit = scale · μ·K + scale²/2 · KᵀΣK (the second only with `covariance`); p = softmax over the
   * slots behind the sinks, mean over the group's query heads; score = p, or with `valueNorm` (p + epsilon) · ‖V‖.
   * Sinks have the score {@link SCORE_MAX}.
   */
  kvExpected(
    o: ScoreOperands & {
      scale: number;
      rotary: Tensor;
      sinks: number;
      covariance: boolean;
      valueNorm: boolean;
      epsilon: number;
    },
  ): void;
  /**
   * kv_columns: score = kept column sum / (heads / kvHeads), with `seen` also divided by n − slot, the number of queries
   * that see the slot; plus bias[j, slot] if given. bias [J, slotsMax].
   */
  kvColumns(o: ScoreOperands & { seen: boolean; bias: Tensor | null }): void;
  /**
   * kv_chunk: scores of whole chunks of `chunk` slots, the same of every head and slot of a chunk: out = mean over the chunk's
   * slots of Σ over heads of scores. The last chunk, which may be shorter, has SCORE_MAX. scores, out [J·kvHeads, slotsMax].
   */
  kvChunk(o: { jobs: KvJobs; kvHeads: number; chunk: number; scores: Tensor; out: Tensor }): void;
  /** kv_top: per row of scores the job's kept-count slots with the largest scores, ascending by slot, ties to the lower slot. kept u32 [J·kvHeads, keptMax]. */
  kvTop(o: { jobs: KvJobs; kvHeads: number; scores: Tensor; kept: Tensor }): void;
  /**
   * kv_gather: target slot i of head h = source slot kept[j·kvHeads + h, i], for every i < kept count. kept u32 [J·kvHeads, keptMax],
   * ascending in a row. With `rotary` [·, headDim], whose row p has the angles of position p, the key is turned back by kept − i
   * positions: from that of its slot to that of its rank.
   */
  kvGather(o: { pages: KvPages; jobs: KvJobs; kept: Tensor; rotary?: Tensor | null }): void;
  /** kv_mean: target slot i = mean of source slots i·f … i·f + f − 1 for i < floor(n/f), K and V apart; the remainder follows raw. */
  kvMean(o: { pages: KvPages; jobs: KvJobs; factor: number }): void;
  /**
   * kv_fold: key of head h in target slot of group g = W₃·relu(W₂·relu(W₁·x + b₁) + b₂) + b₃, x the head's keys in as many source
   * slots, from the group's first on, as W₁ takes, end to end; values likewise by their own network. groups: KV_GROUP_WORDS each
   * (job of layer 0, first source slot, target slot, which networks); every entry of layers folds them all, in job + layer.
   * A group of KV_RAW is a single slot, copied. No two groups have one target.
   */
  kvFold(o: FoldOperands): void;
  /**
   * kv_merge: every slot e that is not kept goes to the kept slot t of its head with the largest cos(K_e, K_t), ties to the
   * lower one; target slot i = mean of t = kept[i] and of (e + t) / 2 for all e that went to it, K and V alike. kept as in kv_gather.
   */
  kvMerge(o: { pages: KvPages; jobs: KvJobs; kept: Tensor }): void;

  /**
   * kv_pack: packs the target slots 0 … P − 1, P = 32·floor(kept / 32), into the job's keep pages from keepBase on, see
   * packedGroupWords: scale = (largest − least) / (2^bits − 1), or 1 where that is 0; code = round((x − least) / scale), halves to even, at
   * most 2^bits − 1; all in f32, scale and least first rounded to f16 where pages are f16. With `tail` the slots behind P are
   * replaced, in place, by what such codes stand for, as one shorter group; otherwise they stay.
   */
  kvPack(o: { pages: KvPages; jobs: KvJobs; bits: KvBits; tail: boolean }): void;
  /** kv_unpack: target slots 0 … slots − 1 = what the codes in the job's keep pages from keepBase on stand for. slots is a multiple of 32. */
  kvUnpack(o: { pages: KvPages; jobs: KvJobs; bits: KvBits }): void;

  /** A u32 scratch tensor filled from the host (kept slots chosen without scores). */
  uploadIndices(rows: number, cols: number, data: Uint32Array): Tensor;

  /** Runs what was recorded and reads whole tensors back, in the order asked. Scratch is gone afterwards. */
  finish(reads: readonly Tensor[]): Promise<ArrayBuffer[]>;
  /** Drops what was recorded (an error while recording) and frees the scratch. */
  abandon(): void;
}

/** What prefill keeps of one layer, after (or before) rope_write_kv of that layer. */
export interface KeepOperands {
  readonly qkv: Tensor;
  readonly shape: HeadShape;
  readonly pages: KvPages;
  readonly map: KvMap;
  readonly keeps: KvKeeps;
  readonly layer: number;
}

/** Scores of a batch of jobs from what prefill kept: scores as in kv_norm, jobs with keep tables. */
export interface ScoreOperands {
  readonly pages: KvPages;
  readonly jobs: KvJobs;
  readonly shape: HeadShape;
  readonly scores: Tensor;
}

/** One linear layer: weight [out, in] f32, bias [1, out]. */
export interface Linear {
  readonly weight: Matrix;
  readonly bias: Tensor;
}

/** The first takes the slots of a group, headDim inputs each, the last gives headDim outputs. */
export type FoldNetwork = readonly [Linear, Linear, Linear];

export interface FoldNetworks {
  readonly keys: FoldNetwork;
  readonly values: FoldNetwork;
}

/** A layer of the model and its networks, as many as groups may name. */
export interface FoldLayer {
  readonly layer: number;
  readonly networks: readonly FoldNetworks[];
}

/** What kv_fold reads. */
export interface FoldOperands {
  readonly pages: KvPages;
  readonly jobs: KvJobs;
  readonly groups: Indices;
  /** At least one. Networks of one index are of equal shapes in all of them. */
  readonly layers: readonly FoldLayer[];
}

/** Above every score that a formula gives. */
export const SCORE_MAX = 3e38;

/** Words of one row of sampling parameters. The first three floats are stored as their bits. */
export const SAMPLE_WORDS = 8;
export const SampleWord = {
  temperature: 0, // f32 bits; 0 is greedy
  topP: 1, // f32 bits; 1 is off
  minP: 2, // f32 bits; 0 is off
  topK: 3, // 0 is off
  seedLow: 4,
  seedHigh: 5,
  counter: 6, // tokens this sequence has sampled before
  logprobCount: 7, // alternatives wanted
} as const;

export const SAMPLE_NOT_FINITE = 0xffff_ffff;
/** Marks a row of the embedding store among token ids. */
export const FEATURE_ROW = 0x8000_0000;
