/**
 * Decode: a token a step for every running sequence. Sequences join and leave between steps; one whose reader is slow is
 * left out until its channel has room. Under a static policy a batch runs to its completion and nobody joins it.
 */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { Actor } from "./actor.ts";
import { growthPages } from "./demand.ts";
import { packingOf } from "./packing.ts";
import type { StageEntry } from "./plan_view.ts";
import { copyPages } from "./room.ts";
import { sendSampled } from "./sampled.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";

type Stepped = Extract<StageMessages["decode"], { type: "stepped" }>;

export class Decode implements Actor<StageMessages["decode"]> {
  /** In the order of their last step: with a window smaller than their number all get their turn. */
  #queue: Sequence[] = [];
  /** Members of the batch that runs to its completion; empty without a static policy. */
  readonly #batch = new Set<Sequence>();
  /** What {@link ready} and {@link compressible} have shown last. */
  #shown: readonly Sequence[] = [];
  #shownCompressible: readonly Sequence[] = [];

  constructor(private readonly parts: StageParts, private readonly toCompletion: boolean) {}

  receive(message: StageMessages["decode"]): void {
    if (message.type === "come") this.#queue.push(message.sequence);
    else this.#stepped(message);
  }

  /** Sequences that wait for their reader. */
  get paused(): number {
    return this.#queue.filter((sequence) => !sequence.ended && sequence.channel.full).length;
  }

  /** A batch that nobody may join has members that run. */
  get batchRuns(): boolean {
    for (const sequence of this.#batch) {
      if (sequence.ended) this.#batch.delete(sequence);
      else if (!sequence.channel.full) return true;
    }
    return false;
  }

  /** Sequences that can take a step. */
  ready(): StageEntry[] {
    this.#queue = this.#queue.filter((sequence) => !sequence.ended);
    const batchRuns = this.batchRuns;
    this.#shown = this.#queue.filter((sequence) =>
      !sequence.channel.full && (!batchRuns || this.#batch.has(sequence))
    );
    const { shape } = this.parts.pool;
    return this.#shown.map((sequence) => {
      const { rankMs, order, sinceMs } = sequence;
      return { rankMs, order, sinceMs, tokens: 1, pages: growthPages(sequence, shape) };
    });
  }

  /** Starts a step over these of the sequences that were shown to be ready. */
  begin(items: readonly number[]): void {
    const { clock, engine, lane, pool, roster, send } = this.parts;
    const now = clock.now();
    const sequences = items.map((index) => this.#shown[index]);
    if (this.toCompletion && !this.batchRuns) { for (const sequence of sequences) this.#batch.add(sequence); }
    const members = new Set(sequences);
    this.#queue = this.#queue.filter((sequence) => !members.has(sequence));
    const step = sequences.map((sequence) => {
      assert(sequence.pages !== null, "a running sequence has pages");
      assert(pool.grow(sequence.pages, sequence.slotsAfter(1)), "a token is decoded when it has a page");
      pool.beginDecoding(sequence.pages);
      roster.enterStep(sequence, now);
      return sequence.tokenPart();
    });
    // A layer's, on average: compressed ones may store different numbers.
    const stored = ({ slots }: Sequence) => slots.reduce((sum, count) => sum + count, 0) / slots.length;
    const slots = sequences.reduce((sum, sequence) => sum + stored(sequence), 0);
    const work = { items: items.length, size: items.length, slots };
    lane.run("decode", work, () => engine.forward(step), (outcome) => {
      send("decode", { type: "stepped", sequences, outcome });
    });
  }

  /** Running sequences whose caches may be compressed when memory is short. */
  compressible(): StageEntry[] {
    const { shape } = this.parts.pool;
    const entries: StageEntry[] = [];
    const shown: Sequence[] = [];
    for (const sequence of this.#queue) {
      const kept = sequence.ended ? null : sequence.keptUnderPressure();
      if (kept === null) continue;
      const { rankMs, order, sinceMs, stored, prompt } = sequence;
      const pages = copyPages(shape, kept, packingOf(prompt.packRule, kept));
      entries.push({ rankMs, order, sinceMs, tokens: stored, pages });
      shown.push(sequence);
    }
    this.#shownCompressible = shown;
    return entries;
  }

  /** Takes these of the sequences that were shown to be compressible out of the queue, at their compression points. */
  takeToCompress(items: readonly number[]): Sequence[] {
    const { clock } = this.parts;
    const sequences = items.map((index) => this.#shownCompressible[index]);
    for (const sequence of sequences) {
      sequence.compressHere("memory");
      sequence.moveTo("compress", clock.now());
      this.withdraw(sequence);
    }
    return sequences;
  }

  holders(): readonly Sequence[] {
    return this.#queue.filter((sequence) => !sequence.ended);
  }

  withdraw(sequence: Sequence): boolean {
    const index = this.#queue.indexOf(sequence);
    if (index < 0) return false;
    this.#queue.splice(index, 1);
    this.#batch.delete(sequence);
    return true;
  }

  #stepped({ sequences, outcome }: Stepped): void {
    const { clock, roster, send } = this.parts;
    const now = clock.now();
    for (const [index, sequence] of sequences.entries()) {
      if (!roster.leaveStep(sequence, now)) continue;
      if (!outcome.ok) {
        const error = new RequestError("engine_failed", "The engine could not generate the next token.");
        send("emit", { type: "fail", sequence, error });
        continue;
      }
      sequence.storedMore(1);
      sequence.moveTo("emit", now);
      sendSampled(send, sequence, outcome.value[index]);
    }
  }
}
