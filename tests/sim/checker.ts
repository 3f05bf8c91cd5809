/**
 * What must hold after every delivery: the bookkeeping of pool and pictures, what each page holds, who still has pages,
 * whose pages are shared, and that nobody is overtaken for ever. Contents are read again only where a table has changed
 * or a page was written.
 */
import assert from "node:assert/strict";
import { compareRank } from "../../scheduler/rank.ts";
import type { StagedScheduler } from "../../scheduler/mod.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import { contentOf, keptContents, promptContents } from "../support/scripted_engine.ts";
import type { ScriptedPages } from "../support/scripted_pages.ts";
import { pressurePoint } from "./crowd.ts";
import type { Expectation } from "./expectation.ts";
import type { FaultCounts } from "./faults.ts";
import { describeSequence } from "./journal.ts";

/** A sequence, what it must store, and what of it has been seen. */
interface Watched {
  readonly sequence: Sequence;
  readonly expectation: Expectation;
  /** Contents of its slots as long as nothing is compressed or preempted. */
  contents: readonly number[] | null;
  compressed: boolean;
  /** It was compressed and lost its cache since. */
  lostCompressed: boolean;
  readonly tables: (Uint32Array | null)[];
  slots: Uint32Array;
  epoch: number;
  overtakenBy: number;
}

export class Checker {
  readonly #watched: Watched[] = [];
  /** Whose prompts the shared pages of the first layer hold, and when they were written. */
  readonly #owners = new Map<number, { readonly owner: string; readonly epoch: number }>();
  /** Most requests of a later rank that were answered before one had its first token. */
  overtakenMost = 0;

  constructor(
    private readonly scheduler: StagedScheduler,
    private readonly pages: ScriptedPages,
    private readonly counts: FaultCounts,
    /** Requests of a later rank that may be answered before one that has no token yet. */
    private readonly overtakenMax: number,
  ) {}

  /** Sequences that live, or whose pages the device still works on. */
  get size(): number {
    return this.#watched.length;
  }

  /** Everyone who is there, for a failure's message. */
  toString(): string {
    return this.#watched.map(({ sequence }) => {
      const { channel, rankMs } = sequence;
      return `  ${describeSequence(sequence)}, rank ${rankMs.toFixed(0)}${
        channel.full ? ", reader full" : ""
      }`;
    }).join("\n");
  }

  watch(sequence: Sequence, expectation: Expectation): void {
    this.#watched.push({
      sequence,
      expectation,
      contents: null,
      compressed: false,
      lostCompressed: false,
      tables: [],
      slots: new Uint32Array(0),
      epoch: -1,
      overtakenBy: 0,
    });
  }

  check(): void {
    this.scheduler.checkIntegrity();
    for (let index = 0; index < this.#watched.length; index++) {
      const watched = this.#watched[index];
      const { sequence } = watched;
      if (!sequence.ended) this.#checkLiving(watched);
      else if (sequence.pages === null) this.#watched.splice(index--, 1);
      else assert(sequence.inStep, `${sequence.request.id} has ended and keeps its pages`);
    }
  }

  /** A request was answered to its end. Those that rank before it and have no token yet were overtaken. */
  answered(sequence: Sequence): void {
    for (const watched of this.#watched) {
      const { sequence: other } = watched;
      if (other.ended || other.sampled > 0 || compareRank(other, sequence) > 0) continue;
      watched.overtakenBy++;
      this.overtakenMost = Math.max(this.overtakenMost, watched.overtakenBy);
      assert(
        watched.overtakenBy <= this.overtakenMax,
        `${other.request.id} waits in ${other.state} while ${watched.overtakenBy} of later ranks were answered`,
      );
    }
  }

  #checkLiving(watched: Watched): void {
    const { sequence } = watched;
    if (sequence.compressed !== watched.compressed) this.#turned(watched);
    if (sequence.pages === null || sequence.stored === 0) return;
    const { packed, table: { tables } } = sequence.pages;
    const changed =
      tables.some((table, layer) =>
        table !== watched.tables[layer] || sequence.slots[layer] !== watched.slots[layer] ||
        this.pages.writtenSince(table, watched.epoch)
      ) || (packed !== null && this.pages.writtenSince(packed.codes, watched.epoch));
    if (!changed) return;
    const contents = watched.contents ??= contentsOf(watched);
    for (const [layer, table] of tables.entries()) {
      const codes = packed === null ? [] : this.pages.readCodes(packed.codes, layer);
      assert.equal(codes.length, packed?.slots[layer] ?? 0, "codes stand for the packed slots");
      const cells = [...codes, ...this.pages.read(table, sequence.slots[layer] - codes.length, layer)];
      for (let slot = 0; slot < cells.length; slot++) {
        if (cells[slot] >>> 0 === contents[slot] >>> 0) continue;
        assert.fail(`${sequence.request.id} has another's token in slot ${slot} of layer ${layer}`);
      }
      watched.tables[layer] = table;
    }
    watched.slots = sequence.slots.slice();
    watched.epoch = this.pages.epoch;
    this.#checkSharing(sequence);
  }

  /** Nobody sees the cached prefixes of another tenant or another salt. */
  #checkSharing({ request: { id, tenant, cacheSalt }, pages }: Sequence): void {
    if (pages === null || pages.sharedPages === 0) return;
    const owner = `${tenant} ${cacheSalt}`;
    for (const page of pages.table.tables[0].subarray(0, pages.sharedPages)) {
      const epoch = this.pages.writtenAt(page);
      const known = this.#owners.get(page);
      if (known?.epoch === epoch) assert.equal(owner, known.owner, `${id} shares page ${page}`);
      else this.#owners.set(page, { owner, epoch });
    }
  }

  /** Its cache has been written shorter, or a shorter one was lost. */
  #turned(watched: Watched): void {
    watched.compressed = watched.sequence.compressed;
    watched.contents = null;
    const packed = watched.sequence.pages?.packed ?? null;
    if (packed !== null && packed.codes.length > 0) this.counts.met("cache of packed slots");
    if (!watched.compressed) {
      watched.lostCompressed = true;
      this.counts.met("compressed sequence that was preempted");
    } else if (watched.lostCompressed) {
      watched.lostCompressed = false;
      this.counts.met("compressed sequence that was resumed");
    }
  }
}

/** What the slots of a sequence must hold: its prompt and its own tokens, or what compression has left of them. */
function contentsOf({ sequence, expectation, compressed }: Watched): readonly number[] {
  const { id } = sequence.request;
  assert(expectation.refusal === null, `${id} stores what nobody may admit`);
  const { prompt } = expectation;
  const pressureAt = pressurePoint(sequence);
  const own = expectation.answer(pressureAt).ids.map((token, index) => {
    const position = prompt.length + index;
    return contentOf(token, [position, position, position]);
  });
  const raw = [...promptContents(prompt), ...own];
  if (!compressed) return raw;
  const shortening = expectation.shortening(pressureAt);
  assert(shortening !== null, `${id} is compressed where nothing would be saved`);
  const { atTokens, kept } = shortening;
  return [...keptContents(raw, atTokens, kept), ...raw.slice(atTokens)];
}
