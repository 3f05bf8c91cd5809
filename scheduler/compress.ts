/** Compress: the caches of finished prompts, written shorter into pages of their own; the old pages come back at once. */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { Actor } from "./actor.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";
import type { WindowEntry } from "./window.ts";

type Stepped = Extract<StageMessages["compress"], { type: "stepped" }>;

export class Compress implements Actor<StageMessages["compress"]> {
  #queue: Sequence[] = [];

  constructor(private readonly parts: StageParts) {}

  receive(message: StageMessages["compress"]): void {
    if (message.type === "come") this.#queue.push(message.sequence);
    else this.#stepped(message);
  }

  /** Sequences whose prompt is to be compressed, oldest first. */
  ready(): WindowEntry[] {
    this.#queue = this.#queue.filter((sequence) => !sequence.ended);
    return this.#queue.map(({ prompt, sinceMs }) => ({ tokens: prompt.ids.length, sinceMs }));
  }

  /** Starts a step over the first `items` sequences. */
  begin(items: number): void {
    const { clock, engine, lane, pool, roster, send } = this.parts;
    const now = clock.now();
    const sequences = this.#queue.splice(0, items);
    const step = sequences.map((sequence) => {
      const { compression } = sequence.prompt;
      assert(compression !== null && sequence.pages !== null, "a prompt is compressed once it is stored");
      pool.beginReplacement(sequence.pages, sequence.slots.map(() => compression.kept));
      roster.enterStep(sequence, now);
      return sequence.compressPart();
    });
    lane.run("compress", items, () => engine.compress(step), (outcome) => {
      send("compress", { type: "stepped", sequences, outcome });
    });
  }

  #stepped({ sequences, outcome }: Stepped): void {
    const { clock, roster, send } = this.parts;
    const now = clock.now();
    for (const sequence of sequences) {
      if (!roster.leaveStep(sequence, now)) continue;
      if (!outcome.ok) {
        const error = new RequestError("engine_failed", "The engine could not compress the prompt.");
        send("emit", { type: "fail", sequence, error });
        continue;
      }
      this.#adopt(sequence);
      sequence.moveTo("decode", now);
      send("decode", { type: "come", sequence });
    }
  }

  /** The shorter cache becomes the sequence's cache. */
  #adopt(sequence: Sequence): void {
    const { pool } = this.parts;
    const { prompt, pages } = sequence;
    assert(prompt.compression !== null && pages?.target, "a compressed sequence has target pages");
    const { pageBytes } = pool.shape;
    sequence.compression = {
      method: prompt.compression.method,
      promptTokens: prompt.ids.length,
      keptTokens: prompt.compression.kept,
      bytesBefore: pages.table.pages * pageBytes,
      bytesAfter: pages.target.pages * pageBytes,
    };
    pool.finishReplacement(pages, prompt.quota.pagesCompressed);
    sequence.slots.fill(prompt.compression.kept);
  }
}
