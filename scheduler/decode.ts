/**
 * Decode: a token a step for every running sequence. Sequences join and leave between steps; one whose reader is slow is
 * left out until its channel has room.
 */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { Actor } from "./actor.ts";
import { sendSampled } from "./sampled.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";
import type { WindowEntry } from "./window.ts";

type Stepped = Extract<StageMessages["decode"], { type: "stepped" }>;

export class Decode implements Actor<StageMessages["decode"]> {
  /** In the order of their last step: with a window smaller than their number all get their turn. */
  #queue: Sequence[] = [];

  constructor(private readonly parts: StageParts) {}

  receive(message: StageMessages["decode"]): void {
    if (message.type === "come") this.#queue.push(message.sequence);
    else this.#stepped(message);
  }

  /** Sequences that wait for their reader. */
  get paused(): number {
    return this.#queue.filter((sequence) => !sequence.ended && sequence.channel.full).length;
  }

  /** Sequences that can take a step. */
  ready(): WindowEntry[] {
    this.#queue = this.#queue.filter((sequence) => !sequence.ended);
    return this.#runnable().map(({ sinceMs }) => ({ tokens: 1, sinceMs }));
  }

  /** Starts a step over the first `items` sequences that can take one. */
  begin(items: number): void {
    const { clock, engine, lane, pool, roster, send } = this.parts;
    const now = clock.now();
    const sequences = this.#runnable().slice(0, items);
    const members = new Set(sequences);
    this.#queue = this.#queue.filter((sequence) => !members.has(sequence));
    const step = sequences.map((sequence) => {
      assert(sequence.pages !== null, "a running sequence has pages");
      pool.grow(sequence.pages, sequence.slotsAfter(1));
      roster.enterStep(sequence, now);
      return sequence.tokenPart();
    });
    lane.run("decode", items, () => engine.forward(step), (outcome) => {
      send("decode", { type: "stepped", sequences, outcome });
    });
  }

  #runnable(): Sequence[] {
    return this.#queue.filter((sequence) => !sequence.channel.full);
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
      sequence.stored(1);
      sequence.moveTo("emit", now);
      sendSampled(send, sequence, outcome.value[index]);
    }
  }
}
