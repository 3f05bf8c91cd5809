/** One stream of tokens: where it stands, what it holds, and the parts of steps that it makes. */
import { assert } from "../lib/core/assert.ts";
import type { CompressSequence, ForwardSequence } from "../lib/engine/engine.ts";
import { FEATURE_ROW } from "../lib/ops/backend.ts";
import type { SequencePages } from "../pool/mod.ts";
import type { AdmittedPrompt } from "./admission.ts";
import type { EventChannel } from "./channel.ts";
import type { Completion } from "./completion.ts";
import type { CompressionUsage, GenerateRequest } from "./messages.ts";
import type { TimedStage } from "./metrics.ts";
import type { Picture } from "./pictures.ts";
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

/** After the first token a sequence goes round between decode and emit. */
const NEXT_STATES: Readonly<Record<SequenceState, readonly SequenceState[]>> = {
  intake: ["encode", "prefill", "ended"],
  encode: ["prefill", "ended"],
  prefill: ["emit", "ended"],
  compress: ["decode", "ended"],
  decode: ["emit", "ended"],
  emit: ["compress", "decode", "ended"],
  ended: [],
};

export class Sequence {
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
  /** Held from the first prefill step on. */
  pages: SequencePages | null = null;

  /** Slots stored, per layer. Not the position: compression makes slots fewer, positions go on counting. */
  slots = new Uint32Array(0);
  /** Prompt tokens stored. */
  prefilled = 0;
  /** Tokens sampled. */
  sampled = 0;
  #lastToken = 0;
  compression: CompressionUsage | null = null;

  constructor(
    readonly request: GenerateRequest,
    readonly channel: EventChannel,
    readonly arrivedMs: number,
  ) {
    this.sinceMs = arrivedMs;
    this.timer.enter("intake", arrivedMs);
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

  get prompt(): AdmittedPrompt {
    assert(this.admitted !== null, "the prompt is known after intake");
    return this.admitted;
  }

  get promptTokensLeft(): number {
    return this.prompt.ids.length - this.prefilled;
  }

  /** RoPE position of the next token: original tokens count, whatever compression has done to the slots. */
  get #nextPosition(): number {
    return this.prompt.positionsEnd + this.sampled - 1;
  }

  /** The next `count` prompt tokens; samples when they are the last. Pages must reach that far. */
  promptPart(count: number): ForwardSequence {
    const { ids, positions } = this.prompt;
    const first = this.prefilled, end = first + count;
    assert(count > 0 && end <= ids.length, "a chunk lies in the prompt");
    return {
      tokens: this.#inputTokens(first, end),
      positions: positions.slice(3 * first, 3 * end),
      slotBase: this.slots.slice(),
      pageTables: this.#tables(),
      sampling: end === ids.length ? this.request.sampling : null,
      sampled: 0,
    };
  }

  /** The token sampled last, to be stored and followed. */
  tokenPart(): ForwardSequence {
    assert(this.sampled > 0, "a sequence decodes after its first token");
    return {
      tokens: Uint32Array.of(this.#lastToken),
      positions: new Uint32Array(3).fill(this.#nextPosition),
      slotBase: this.slots.slice(),
      pageTables: this.#tables(),
      sampling: this.request.sampling,
      sampled: this.sampled,
    };
  }

  /** The whole cache, to be written shorter into the target pages. */
  compressPart(): CompressSequence {
    const { compression } = this.prompt;
    assert(compression !== null, "a sequence is compressed when it asked for it");
    assert(this.pages?.target, "a sequence is compressed into pages of its own");
    return {
      method: compression.method,
      ratio: compression.ratio,
      slots: this.slots.slice(),
      kept: new Uint32Array(this.slots.length).fill(compression.kept),
      sourceTables: [...this.pages.table.tables],
      targetTables: [...this.pages.target.tables],
    };
  }

  /** `count` tokens of a step are stored, in every layer. */
  stored(count: number): void {
    for (let layer = 0; layer < this.slots.length; layer++) this.slots[layer] += count;
  }

  /** Slots of every layer after `count` more tokens. */
  slotsAfter(count: number): Uint32Array {
    return this.slots.map((slots) => slots + count);
  }

  took(token: number): void {
    this.#lastToken = token;
    this.sampled++;
  }

  #tables(): Uint32Array[] {
    assert(this.pages !== null, "a sequence in a step has pages");
    return [...this.pages.table.tables];
  }

  /** Token ids as the engine takes them: those of a picture are the rows of its features. */
  #inputTokens(first: number, end: number): Uint32Array {
    const { ids, images } = this.prompt;
    const tokens = Uint32Array.from(ids.slice(first, end));
    for (const [index, image] of images.entries()) {
      const from = Math.max(first, image.firstToken), to = Math.min(end, image.firstToken + image.rows);
      for (let at = from; at < to; at++) {
        tokens[at - first] = FEATURE_ROW + this.pictures[index].row + at - image.firstToken;
      }
    }
    return tokens;
  }
}
