/**
 * Prefill: prompts into pages, ragged batches, long prompts in chunks, and streams of preempted sequences again. A
 * sequence takes the pages of its whole prompt before its first chunk, less those that the prefix cache has.
 */
import { assert } from "../lib/core/assert.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { Reservation } from "../pool/mod.ts";
import type { Actor } from "./actor.ts";
import { expectedPages } from "./demand.ts";
import type { PrefillEntry } from "./plan_view.ts";
import { cachedTokens, needsFeatures } from "./prefix.ts";
import { RankedQueue } from "./ranked_queue.ts";
import { reservation } from "./room.ts";
import { sendSampled } from "./sampled.ts";
import type { Sequence } from "./sequence.ts";
import type { StageMessages, StageParts } from "./stage.ts";

type Stepped = Extract<StageMessages["prefill"], { type: "stepped" }>;

/** Sequences that a plan looks at; no batch has more. */
const LOOKED_AT_MAX = 64;

function reservationOf({ prompt, compressionPoint }: Sequence): Reservation {
  const { kept = null, packing = null } = compressionPoint ?? {};
  return reservation(prompt.ids.length, kept, prompt.keepPages, prompt.maxTokens, packing);
}

export class Prefill implements Actor<StageMessages["prefill"]> {
  readonly #queue = new RankedQueue<Sequence>();
  /** What {@link ready} has shown last. */
  #shown: readonly Sequence[] = [];

  constructor(private readonly parts: StageParts) {}

  receive(message: StageMessages["prefill"]): void {
    if (message.type === "come") this.#queue.push(message.sequence);
    else this.#stepped(message);
  }

  /**
   * The first sequences with tokens to store. Those with pages in hand come first: behind one of a better rank that waits
   * for pages they would keep those very pages for ever. One without pages whose reader is slow waits for it.
   */
  ready(): PrefillEntry[] {
    const shown = [...this.holders()];
    for (const sequence of [...this.#queue.live()]) {
      if (shown.length >= LOOKED_AT_MAX) break;
      if (sequence.pages !== null || sequence.channel.full) continue;
      if (needsFeatures(sequence, this.parts.pool)) this.#sendBack(sequence);
      else shown.push(sequence);
    }
    this.#shown = shown;
    return shown.map((sequence) => this.#entry(sequence));
  }

  /** Starts a step over the next chunks[i] tokens of the i-th sequence that was shown; takes the pages of new ones. */
  begin(chunks: readonly number[]): void {
    const { clock, engine, lane, roster, send } = this.parts;
    const now = clock.now();
    // All cached prefixes are named before any member takes pages: what one evicts must not be what another begins with.
    const sequences = this.#opened(this.#shown.slice(0, chunks.length));
    this.#queue.removeAll(sequences);
    const members = sequences.map((sequence, index) => {
      this.#takePages(sequence);
      roster.enterStep(sequence, now);
      return { sequence, tokens: chunks[index] };
    });
    const step = members.map(({ sequence, tokens }) => sequence.part(tokens));
    const size = members.reduce((sum, { tokens }) => sum + tokens, 0);
    lane.run("prefill", { items: members.length, size }, () => engine.forward(step), (outcome) => {
      send("prefill", { type: "stepped", chunks: members, outcome });
    });
  }

  /** Those that wait with pages in hand. */
  holders(): readonly Sequence[] {
    return this.#queue.live().filter(({ pages }) => pages !== null);
  }

  withdraw(sequence: Sequence): boolean {
    return this.#queue.remove(sequence);
  }

  #entry(sequence: Sequence): PrefillEntry {
    const { rankMs, order, sinceMs, tokensToStore } = sequence;
    const { pool, outputLength } = this.parts;
    const slots = sequence.slotsAfter(tokensToStore);
    if (sequence.pages !== null) {
      // None are missing, but for one that was compressed again and has its answer to store behind the shorter cache.
      const pages = pool.missing(sequence.pages, slots);
      return { rankMs, order, sinceMs, tokens: tokensToStore, pages, pagesLater: 0, begun: true };
    }
    const run = pool.runFor(() => reservationOf(sequence));
    if (run !== null) {
      return { rankMs, order, sinceMs, tokens: tokensToStore, pages: run, pagesLater: 0, begun: false };
    }
    const cached = cachedTokens(sequence, pool);
    return {
      rankMs,
      order,
      sinceMs,
      tokens: tokensToStore - cached,
      pages: pool.openingPages(sequence.prompt.chain, cached, slots) + sequence.prompt.keepPages,
      pagesLater: Math.max(
        0,
        expectedPages(sequence, pool.shape, outputLength) - pool.pagesFor(slots) -
          sequence.prompt.keepPages,
      ),
      begun: false,
    };
  }

  /** The first of them that have begun: the runs of those before one may leave none for it, and then it waits. */
  #opened(sequences: readonly Sequence[]): readonly Sequence[] {
    const without = sequences.findIndex((sequence) => sequence.pages === null && !this.#open(sequence));
    assert(without !== 0, "the first that begins has a run");
    return without < 0 ? sequences : sequences.slice(0, without);
  }

  /** Begins with what the prefix cache has of the prompt; false without a run. */
  #open(sequence: Sequence): boolean {
    const { pool, roster, metrics } = this.parts;
    const cached = cachedTokens(sequence, pool);
    sequence.pages = pool.open(sequence.prompt.chain, cached, reservationOf(sequence));
    if (sequence.pages === null) return false;
    if (sequence.cachedTokens === null) roster.begun(sequence);
    else metrics.resumed++;
    sequence.foundCached(cached);
    return true;
  }

  /** Pages of everything that it has to store, and at its beginning those in which prefill keeps something. */
  #takePages(sequence: Sequence): void {
    const { pool } = this.parts;
    const { pages, prompt, tokensToStore } = sequence;
    assert(pages !== null, "a sequence that stores has begun");
    assert(
      pool.grow(pages, sequence.slotsAfter(tokensToStore)),
      "a prompt goes on when there are pages for it",
    );
    const keep = sequence.compressed || pages.keep.length > 0 ? 0 : prompt.keepPages;
    if (keep > 0) assert(pool.keep(pages, keep), "what is kept of a prompt has pages");
  }

  /** The cached prefix that had its pictures' tokens was evicted while it waited. */
  #sendBack(sequence: Sequence): void {
    const { clock, send } = this.parts;
    this.#queue.remove(sequence);
    sequence.moveTo("encode", clock.now());
    send("encode", { type: "come", sequence });
  }

  #stepped({ chunks, outcome }: Stepped): void {
    const { clock, roster, send } = this.parts;
    const now = clock.now();
    for (const [index, { sequence, tokens }] of chunks.entries()) {
      if (!roster.leaveStep(sequence, now)) continue;
      if (!outcome.ok) {
        const error = new RequestError("engine_failed", "The engine could not read the prompt.");
        send("emit", { type: "fail", sequence, error });
        continue;
      }
      this.#storedMore(sequence, tokens);
      if (sequence.tokensToStore > 0) this.#queue.push(sequence);
      else this.#goOn(sequence, outcome.value[index]);
    }
  }

  #storedMore(sequence: Sequence, tokens: number): void {
    const { pool, roster } = this.parts;
    sequence.storedMore(tokens);
    const promptTokens = sequence.prompt.ids.length;
    assert(sequence.pages !== null, "a sequence that stores has pages");
    if (!sequence.compressed) pool.publish(sequence.pages, Math.min(sequence.stored, promptTokens));
    if (sequence.stored >= promptTokens) roster.releasePictures(sequence);
  }

  /** To its first token, or, preempted before, to where it was. */
  #goOn(sequence: Sequence, sampled: Parameters<typeof sendSampled>[2] | null): void {
    const { clock, send } = this.parts;
    if (sequence.sampled === 0) {
      assert(sampled !== null, "the end of a prompt is sampled from");
      sequence.moveTo("emit", clock.now());
      sendSampled(send, sequence, sampled);
      return;
    }
    const next = sequence.compressionDue ? "compress" : "decode";
    sequence.moveTo(next, clock.now());
    send(next, { type: "come", sequence });
  }
}
