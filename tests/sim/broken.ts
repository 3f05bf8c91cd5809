/**
 * Schedulers that are broken on purpose, each in one way that a real mistake could be. A simulation that lets one of them
 * pass proves nothing about the sound one.
 */
import type { Engine, ForwardSequence } from "../../lib/engine/engine.ts";
import { KvPool, type SequencePages } from "../../pool/mod.ts";
import type { Actor } from "../../scheduler/actor.ts";
import type { StageMessages } from "../../scheduler/stage.ts";
import { type ActorName, ObservedActors } from "./observed_actors.ts";
import type { Breakage } from "./world.ts";

/** One time in so many the mistake is made: the worlds run well for a while. */
const MISTAKE_EVERY = 5;

/** Keeps a page of some of the sequences that give theirs back. */
class LeakingPool extends KvPool {
  #releases = 0;

  override release(pages: SequencePages): void {
    super.release(pages);
    if (++this.#releases % MISTAKE_EVERY === 0 && this.freePages > 0) this.counted.take(1);
  }
}

/** Gives a page back a second time, when somebody else has it already. */
class DoubleFreeingPool extends KvPool {
  #freed: number | undefined;

  override release(pages: SequencePages): void {
    // The last page of a table is nobody else's.
    this.#freed = pages.table.tables[0].at(-1);
    super.release(pages);
  }

  override grow(pages: SequencePages, slots: ArrayLike<number>): boolean {
    const grown = super.grow(pages, slots);
    if (this.#freed === undefined || pages.table.tables[0].at(-1) !== this.#freed) return grown;
    this.counted.letGo(Uint32Array.of(this.#freed));
    this.#freed = undefined;
    return grown;
  }
}

/** Lets a sequence write into a page of another one. */
class SharingPool extends KvPool {
  #grown = 0;

  override grow(pages: SequencePages, slots: ArrayLike<number>): boolean {
    const grown = super.grow(pages, slots);
    const other = [...this.sequences].find((other) => other !== pages && other.table.pages > 0);
    if (other === undefined || ++this.#grown % MISTAKE_EVERY !== 0) return grown;
    const [layer] = pages.table.tables;
    pages.table.tables[0] = layer.with(-1, other.table.tables[0].at(-1)!);
    return grown;
  }
}

/** Forgets to look at the device again when a reader has made room or a window opens. */
class DeafActors extends ObservedActors {
  override wake(): void {}
}

/** One sequence is put behind all that come to prefill after it, as long as enough of them come. */
class StarvingActors extends ObservedActors {
  #seen = 0;
  #starving: (() => void) | null = null;

  protected override pass<Name extends ActorName>(
    name: Name,
    message: StageMessages[Name],
    actor: Actor<StageMessages[Name]>,
  ): void {
    if (name !== "prefill" || message.type !== "come") return actor.receive(message);
    const turn = ++this.#seen;
    if (turn === STARVED_FROM) this.#starving = () => actor.receive(message);
    else actor.receive(message);
    if (turn === STARVED_UNTIL) this.#starving?.();
  }
}
const STARVED_FROM = 4;
const STARVED_UNTIL = 60;

/** The device is told tables that were right before the sequence was compressed. */
class StaleTables implements Engine {
  /** Tables before compression, by the first page after it. */
  readonly #stale = new Map<number, readonly Uint32Array[]>();
  readonly facts: Engine["facts"];

  constructor(private readonly engine: Engine) {
    this.facts = engine.facts;
  }

  encode: Engine["encode"] = (images) => this.engine.encode(images);

  compress: Engine["compress"] = async (sequences) => {
    await this.engine.compress(sequences);
    for (const { sourceTables, targetTables } of sequences) this.#stale.set(targetTables[0][0], sourceTables);
  };

  forward: Engine["forward"] = (sequences) =>
    this.engine.forward(sequences.map((part) => this.#outdated(part)));

  liveBytes: Engine["liveBytes"] = () => this.engine.liveBytes();

  close: Engine["close"] = () => this.engine.close();

  /** As long as the old tables are long enough, nothing but what is in them tells. */
  #outdated(part: ForwardSequence): ForwardSequence {
    const pageTables = this.#stale.get(part.pageTables[0][0]);
    const long = pageTables?.every((table, layer) => table.length >= part.pageTables[layer].length);
    return pageTables !== undefined && long ? { ...part, pageTables } : part;
  }
}

export interface BrokenScheduler {
  readonly mistake: string;
  readonly breakage: Breakage;
  /** What the simulation says of it. */
  readonly symptom: RegExp;
}

export const BROKEN_SCHEDULERS: readonly BrokenScheduler[] = [
  {
    mistake: "a page leak",
    breakage: { pool: (facts) => new LeakingPool(facts) },
    symptom: /page \d+ (counts those who name it|is allocated exactly while somebody holds it)/,
  },
  {
    mistake: "a double free",
    breakage: { pool: (facts) => new DoubleFreeingPool(facts) },
    symptom:
      /page \d+ (counts those who name it|is allocated exactly while somebody holds it|is let go of by those)/,
  },
  {
    mistake: "a lost wake-up",
    breakage: { actors: () => new DeafActors() },
    symptom: /all has come to rest, and \d+ requests are not answered|something is delivered once in a while/,
  },
  {
    mistake: "starvation",
    breakage: { actors: () => new StarvingActors() },
    symptom: /waits in prefill while \d+ of later ranks were answered/,
  },
  {
    mistake: "a page shared by two sequences",
    breakage: { pool: (facts) => new SharingPool(facts) },
    symptom: /page \d+ (is private to a sequence|counts those who name it)/,
  },
  {
    mistake: "a stale page table",
    breakage: { engine: (engine) => new StaleTables(engine) },
    symptom: /has another's token|tokens of request-\d+|was written|is not overwritten/,
  },
];
