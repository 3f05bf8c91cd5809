/**
 * Prefill: prompts into pages, ragged batches, long prompts in chunks. The queue is first in, first out: a sequence gets
 * its whole quota of pages (quota.ts) before its first chunk, and none overtakes one that waits for pages.
 */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import { shortageText } from "../pool/mod.ts";
import type { Actor } from "./actor.ts";
import type { PrefillEntry } from "./plan.ts";
import type { Sequence } from "./sequence.ts";
import { sendSampled } from "./sampled.ts";
import type { StageMessages, StageParts } from "./stage.ts";

type Stepped = Extract<StageMessages["prefill"], { type: "stepped" }>;

export class Prefill implements Actor<StageMessages["prefill"]> {
  #queue: Sequence[] = [];

  constructor(private readonly parts: StageParts) {}

  receive(message: StageMessages["prefill"]): void {
    if (message.type === "come") this.#queue.push(message.sequence);
    else this.#stepped(message);
  }

  /** Sequences with prompt tokens to store, oldest first. */
  waiting(): PrefillEntry[] {
    this.#queue = this.#queue.filter((sequence) => !sequence.ended);
    return this.#queue.map((sequence) => ({
      tokens: sequence.promptTokensLeft,
      sinceMs: sequence.sinceMs,
      quotaPages: sequence.pages === null ? sequence.prompt.quota.pages : 0,
    }));
  }

  /** Starts a step over the next chunks[i] tokens of the i-th waiting sequence; reserves what is not reserved yet. */
  begin(chunks: readonly number[]): void {
    const { clock, engine, lane, roster, send } = this.parts;
    const now = clock.now();
    const members = this.#queue.splice(0, chunks.length).map((sequence, index) => {
      const tokens = chunks[index];
      this.#reserve(sequence, tokens);
      roster.enterStep(sequence, now);
      return { sequence, tokens };
    });
    const step = members.map(({ sequence, tokens }) => sequence.promptPart(tokens));
    lane.run("prefill", members.length, () => engine.forward(step), (outcome) => {
      send("prefill", { type: "stepped", chunks: members, outcome });
    });
  }

  #reserve(sequence: Sequence, tokens: number): void {
    const { pool } = this.parts;
    if (sequence.pages === null) {
      const reservation = pool.reserve(sequence.prompt.quota.pages);
      assert(reservation.ok, reservation.ok ? "" : shortageText(reservation.shortage));
      sequence.pages = reservation.pages;
    }
    pool.grow(sequence.pages, sequence.slotsAfter(tokens));
  }

  #stepped({ chunks, outcome }: Stepped): void {
    const { clock, roster, send } = this.parts;
    const now = clock.now();
    const unfinished: Sequence[] = [];
    for (const [index, { sequence, tokens }] of chunks.entries()) {
      if (!roster.leaveStep(sequence, now)) continue;
      if (!outcome.ok) {
        const error = new RequestError("engine_failed", "The engine could not read the prompt.");
        send("emit", { type: "fail", sequence, error });
        continue;
      }
      sequence.stored(tokens);
      sequence.prefilled += tokens;
      if (sequence.promptTokensLeft > 0) {
        unfinished.push(sequence);
        continue;
      }
      roster.releasePictures(sequence);
      sequence.moveTo("emit", now);
      sendSampled(send, sequence, outcome.value[index]);
    }
    // Back to the front: behind one that waits for pages they would hold those very pages for ever.
    this.#queue.unshift(...unfinished);
  }
}
