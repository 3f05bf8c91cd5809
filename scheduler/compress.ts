/** Compress: caches written shorter into pages of their own; the old pages come back at once. */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { Actor } from "./actor.ts";
import type { StageEntry } from "./plan_view.ts";
import { RankedQueue } from "./ranked_queue.ts";
import { freshCopyPages } from "./room.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";

type Stepped = Extract<StageMessages["compress"], { type: "stepped" }>;

export class Compress implements Actor<StageMessages["compress"]> {
  readonly #queue = new RankedQueue<Sequence>();

  constructor(private readonly parts: StageParts) {}

  receive(message: StageMessages["compress"]): void {
    if (message.type === "come") this.#queue.push(message.sequence);
    else this.#stepped(message);
  }

  /** Sequences whose cache is to be compressed, first served first. */
  ready(): StageEntry[] {
    return this.#queue.live().map((sequence) => this.#entry(sequence));
  }

  /** Starts a step over these of the waiting sequences. */
  begin(items: readonly number[]): void {
    const waiting = this.#queue.live();
    const sequences = items.map((index) => waiting[index]);
    this.#queue.removeAll(sequences);
    this.beginWith(sequences);
  }

  /** Starts a step over sequences that have come to their compression point. */
  beginWith(sequences: readonly Sequence[]): void {
    const { clock, engine, lane, pool, roster, send } = this.parts;
    const now = clock.now();
    let size = 0;
    const step = sequences.map((sequence) => {
      const { compressionPoint, pages } = sequence;
      assert(compressionPoint !== null && pages !== null, "a cache is compressed once it is stored");
      assert(
        pool.beginReplacement(pages, compressionPoint.kept, compressionPoint.packing),
        "a copy begins when there are pages for it",
      );
      roster.enterStep(sequence, now);
      size += sequence.stored;
      return sequence.compressPart();
    });
    const work = { items: sequences.length, size };
    lane.run("compress", work, () => engine.compress(step), (outcome, endedMs) => {
      send("compress", { type: "stepped", sequences, outcome, endedMs });
    });
  }

  holders(): readonly Sequence[] {
    return this.#queue.live();
  }

  withdraw(sequence: Sequence): boolean {
    return this.#queue.remove(sequence);
  }

  #entry({ rankMs, order, sinceMs, stored, compressionPoint }: Sequence): StageEntry {
    assert(compressionPoint !== null, "a sequence that waits for compression has its point");
    const { kept, packing } = compressionPoint;
    const pages = freshCopyPages(this.parts.pool.shape, kept, packing);
    return { rankMs, order, sinceMs, tokens: stored, pages };
  }

  #stepped({ sequences, outcome, endedMs }: Stepped): void {
    const { clock, roster, send } = this.parts;
    const now = clock.now();
    for (const sequence of sequences) {
      if (!roster.leaveStep(sequence, now)) continue;
      if (!outcome.ok) {
        const error = new RequestError("engine_failed", "The engine could not compress the prompt.");
        send("emit", { type: "fail", sequence, error });
        continue;
      }
      this.#adopt(sequence, endedMs);
      // One that was preempted has tokens of its answer to store again.
      const next = sequence.tokensToStore > 0 ? "prefill" : "decode";
      sequence.moveTo(next, now);
      send(next, { type: "come", sequence });
    }
  }

  /** The shorter cache becomes the sequence's cache. */
  #adopt(sequence: Sequence, endedMs: number): void {
    const { clock, pool, metrics } = this.parts;
    const { pages, compressionPoint: point } = sequence;
    assert(point !== null && pages?.target, "a compressed sequence has target pages");
    pool.finishReplacement(pages, endedMs, clock.now());
    metrics.compressed++;
    if (point.reason === "memory") metrics.shrunk++;
    if (point.reason === "gain") metrics.paid++;
    sequence.becameCompressed();
  }
}
