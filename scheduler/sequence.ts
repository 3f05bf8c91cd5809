/**
 * One stream of tokens: where it stands, what it holds, and the parts of steps that it makes.
 *
 * The stream is the prompt followed by what was generated. `stored` counts its tokens in the cache; the token sampled
 * last is never among them, its decode step stores it. A sequence that is preempted loses its cache and comes back to the
 * same place: it stores its stream again, compresses at the same token, and goes on as if nothing had happened.
 */
import { assert } from "../lib/core/assert.ts";
import type { ImageSpan } from "../lib/engine/compress/method.ts";
import { needOf } from "../lib/engine/compress/mod.ts";
import type { CompressSequence, ForwardSequence, PackedSlots, SequenceKeep } from "../lib/engine/engine.ts";
import { FEATURE_ROW } from "../lib/ops/backend.ts";
import type { PackedPages, Packing, SequencePages } from "../pool/mod.ts";
import type { AdmittedPrompt } from "./admission.ts";
import type { EventChannel } from "./channel.ts";
import type { Completion } from "./completion.ts";
import { keptOf } from "./compression.ts";
import type { CompressionReason, GenerateRequest } from "./messages.ts";
import type { TimedStage } from "./metrics.ts";
import { packingOf } from "./packing.ts";
import type { Picture } from "./pictures.ts";
import type { Ranked } from "./rank.ts";
import { StageTimer } from "./stage_timer.ts";

export const SEQUENCE_STATES = [
  "intake",
  "encode",
  "prefill",
  "compress",
  "decode",
  "emit",
  "ended",
] as const;
export type SequenceState = typeof SEQUENCE_STATES[number];

/**
 * After the first token a sequence goes round between decode and emit. One that was preempted, or whose cached prefix was
 * evicted before it began, goes back to prefill or, for the features of its pictures, to encode.
 */
const NEXT_STATES: Readonly<Record<SequenceState, readonly SequenceState[]>> = {
  intake: ["encode", "prefill", "ended"],
  encode: ["prefill", "ended"],
  prefill: ["emit", "compress", "decode", "encode", "prefill", "ended"],
  compress: ["decode", "prefill", "encode", "ended"],
  decode: ["emit", "compress", "prefill", "encode", "ended"],
  emit: ["compress", "decode", "ended"],
  ended: [],
};

/** When and why a sequence is compressed, and into what. */
export interface CompressionPoint {
  readonly reason: CompressionReason;
  /** Tokens of the stream that are stored then. */
  readonly atTokens: number;
  /** Slots that remain in each layer. */
  readonly kept: Uint32Array;
  /** Which of these are packed; null for none. */
  readonly packing: Packing | null;
}

export class Sequence implements Ranked {
  readonly timer = new StageTimer();
  #state: SequenceState = "intake";
  /** When it came to where it waits now. */
  sinceMs: number;
  /** The device works on its pages; they cannot go back before the step has ended. */
  inStep = false;

  /** Known from intake on. */
  admitted: AdmittedPrompt | null = null;
  completion: Completion | null = null;
  /** Pictures whose features it holds, in the order of the prompt; empty once the prompt is stored. */
  pictures: readonly Picture[] = [];
  /** Held from its first prefill step on, until it ends or is preempted. */
  pages: SequencePages | null = null;
  /** Prompt tokens that its first prefill found in the prefix cache; null before it. */
  cachedTokens: number | null = null;

  /** Slots stored, per layer. Not the position: compression makes slots fewer, positions go on counting. */
  slots = new Uint32Array(0);
  #stored = 0;
  readonly #generated: number[] = [];
  #compressionPoint: CompressionPoint | null = null;
  #compressed = false;

  constructor(
    readonly request: GenerateRequest,
    readonly channel: EventChannel,
    readonly arrivedMs: number,
    private readonly rank: Ranked,
  ) {
    this.sinceMs = arrivedMs;
    this.timer.enter("intake", arrivedMs);
  }

  get rankMs(): number {
    return this.rank.rankMs;
  }

  get order(): number {
    return this.rank.order;
  }

  get state(): SequenceState {
    return this.#state;
  }

  get ended(): boolean {
    return this.#state === "ended";
  }

  /** Asserts that the transition is legal. Emitting is part of no timed stage: the one before goes on counting. */
  moveTo(state: SequenceState, nowMs: number): void {
    assert(NEXT_STATES[this.#state].includes(state), `a sequence goes from ${this.#state} to ${state}`);
    this.#state = state;
    this.sinceMs = nowMs;
    if (state === "ended") this.timer.leave(nowMs);
    else if (state !== "emit") this.timer.enter(state satisfies TimedStage, nowMs);
  }

  /** Intake is done. */
  admit(prompt: AdmittedPrompt, layers: number): void {
    this.admitted = prompt;
    this.slots = new Uint32Array(layers);
    const { compression } = prompt;
    if (compression === null || compression.underPressure) return;
    const kept = keptOf(compression, prompt.ids.length, layers, this.#imageSpans(), prompt.protect);
    if (kept !== null) this.#compressionPoint = this.#pointAt("request", prompt.ids.length, kept);
  }

  get prompt(): AdmittedPrompt {
    assert(this.admitted !== null, "the prompt is known after intake");
    return this.admitted;
  }

  /** Tokens sampled. */
  get sampled(): number {
    return this.#generated.length;
  }

  /** Tokens of the stream that are stored. */
  get stored(): number {
    return this.#stored;
  }

  get compressed(): boolean {
    return this.#compressed;
  }

  /** Where and into what it is compressed; null when it never is. */
  get compressionPoint(): CompressionPoint | null {
    return this.#compressionPoint;
  }

  /** It is to be compressed before it goes on. */
  get compressionDue(): boolean {
    return !this.#compressed && this.#compressionPoint !== null && this.sampled > 0 &&
      this.#stored === this.#compressionPoint.atTokens;
  }

  /** Tokens to store before anything else happens to it: sampling, compression, or decoding on. */
  get tokensToStore(): number {
    const all = this.prompt.ids.length + Math.max(0, this.sampled - 1);
    const point = this.#compressionPoint;
    const until = point !== null && !this.#compressed ? Math.min(all, point.atTokens) : all;
    return until - this.#stored;
  }

  /** Slots that would remain in each layer if it were compressed where it stands; null where that may not be or saves none. */
  keptUnderPressure(): Uint32Array | null {
    const { compression } = this.prompt;
    if (!compression?.underPressure || this.#compressionPoint !== null) return null;
    return keptOf(
      compression,
      this.#stored,
      this.slots.length,
      this.#imageSpans(),
      this.prompt.protect,
    );
  }

  /** It will be compressed at the token where it stands. Once in its life. */
  compressHere(reason: "memory" | "gain"): void {
    const kept = this.keptUnderPressure();
    assert(kept !== null, "a sequence is compressed once, when that makes it shorter");
    this.#compressionPoint = this.#pointAt(reason, this.#stored, kept);
  }

  #pointAt(reason: CompressionReason, atTokens: number, kept: Uint32Array): CompressionPoint {
    return { reason, atTokens, kept, packing: packingOf(this.prompt.packRule, kept) };
  }

  /** `tokens` leading prompt tokens were found in the prefix cache. */
  foundCached(tokens: number): void {
    assert(this.#stored === 0, "a prefix is found before anything is stored");
    this.cachedTokens ??= tokens;
    this.storedMore(tokens);
  }

  /** `count` tokens of a step are stored, in every layer. */
  storedMore(count: number): void {
    this.#stored += count;
    for (let layer = 0; layer < this.slots.length; layer++) this.slots[layer] += count;
  }

  /** Its cache is the compressed one from now on. */
  becameCompressed(): void {
    assert(this.#compressionPoint !== null && !this.#compressed, "a sequence is compressed at its point");
    this.#compressed = true;
    this.slots.set(this.#compressionPoint.kept);
  }

  /** Its cache is gone. */
  lostCache(): void {
    this.#stored = 0;
    this.#compressed = false;
    this.slots.fill(0);
  }

  /** Slots of every layer after `count` more tokens. */
  slotsAfter(count: number): Uint32Array {
    // A loop: `map` of a typed array takes five times as long, and every decision asks for the first 64 prompts.
    const after = new Uint32Array(this.slots.length);
    for (let layer = 0; layer < after.length; layer++) after[layer] = this.slots[layer] + count;
    return after;
  }

  took(token: number): void {
    this.#generated.push(token);
  }

  /** The next `count` tokens of the stream; samples when they end a prompt that has no answer yet. */
  part(count: number): ForwardSequence {
    const first = this.#stored, end = first + count;
    assert(count > 0 && count <= this.tokensToStore, "a chunk lies in what is to be stored");
    const samples = this.sampled === 0 && end === this.prompt.ids.length;
    return this.#forward(first, end, samples);
  }

  /** The token sampled last, to be stored and followed. */
  tokenPart(): ForwardSequence {
    assert(this.sampled > 0 && this.tokensToStore === 0, "a sequence decodes when its stream is stored");
    return this.#forward(this.#stored, this.#stored + 1, true);
  }

  /** The whole cache, to be written shorter into the target pages. */
  compressPart(): CompressSequence {
    const { compression } = this.prompt;
    const point = this.#compressionPoint;
    assert(
      compression !== null && point !== null && this.compressionDue,
      "a sequence is compressed when it is due",
    );
    assert(this.pages?.target, "a sequence is compressed into pages of its own");
    const { method, size, settings, rerotate, quantise } = compression;
    return {
      compression: { method, size, settings, rerotate, quantise },
      slots: this.slots.slice(),
      kept: point.kept,
      sourceTables: [...this.pages.table.tables],
      targetTables: [...this.pages.target.tables],
      keep: this.#keep(),
      packed: this.#packed(this.pages.targetPacked),
      seed: this.request.sampling.seed,
      images: this.#imageSpans(),
      protect: this.prompt.protect,
    };
  }

  #forward(first: number, end: number, samples: boolean): ForwardSequence {
    assert(this.pages !== null, "a sequence in a step has pages");
    return {
      tokens: this.#inputTokens(first, end),
      positions: this.#positions(first, end),
      slotBase: this.slots.slice(),
      pageTables: [...this.pages.table.tables],
      sampling: samples ? this.request.sampling : null,
      sampled: this.sampled,
      keep: first < this.prompt.ids.length ? this.#keep() : null,
      packed: this.#packed(this.pages.packed),
    };
  }

  #packed(pages: PackedPages | null): PackedSlots | null {
    const { packRule } = this.prompt;
    if (pages === null || packRule === null) return null;
    return { bits: packRule.bits, slots: pages.slots, pages: pages.codes, room: pages.room };
  }

  /** What prefill keeps for compression, and where; null when it keeps nothing. */
  #keep(): SequenceKeep | null {
    const { compression, ids } = this.prompt;
    assert(this.pages !== null, "a sequence in a step has pages");
    if (compression === null || this.pages.keep.length === 0) return null;
    const need = needOf(compression);
    return need === null ? null : { need, pages: this.pages.keep, promptTokens: ids.length };
  }

  #imageSpans(): ImageSpan[] {
    return this.prompt.images.map(({ firstToken, rows }) => ({ first: firstToken, count: rows }));
  }

  /**
   * RoPE positions: original tokens count, whatever compression has done to the slots; unless it has moved the keys to
   * positions 0 … n − 1.
   */
  #positions(first: number, end: number): Uint32Array {
    const { ids, positions, positionsEnd } = this.prompt;
    if (end <= ids.length) return positions.slice(3 * first, 3 * end);
    const point = this.prompt.compression?.rerotate && this.#compressed ? this.#compressionPoint : null;
    // Of the stream's first token, if all tokens stood one behind the other.
    const origin = point === null ? positionsEnd - ids.length : Math.max(...point.kept) - point.atTokens;
    const all = new Uint32Array(3 * (end - first));
    for (let at = first; at < end; at++) {
      for (let axis = 0; axis < 3; axis++) {
        all[3 * (at - first) + axis] = at < ids.length ? positions[3 * at + axis] : origin + at;
      }
    }
    return all;
  }

  /** Token ids as the engine takes them: those of a picture are the rows of its features. */
  #inputTokens(first: number, end: number): Uint32Array {
    const { ids, images } = this.prompt;
    const tokens = new Uint32Array(end - first);
    for (let at = first; at < end; at++) {
      tokens[at - first] = at < ids.length ? ids[at] : this.#generated[at - ids.length];
    }
    for (const [index, image] of images.entries()) {
      const from = Math.max(first, image.firstToken), to = Math.min(end, image.firstToken + image.rows);
      for (let at = from; at < to; at++) {
        tokens[at - first] = FEATURE_ROW + this.pictures[index].row + at - image.firstToken;
      }
    }
    return tokens;
  }
}
