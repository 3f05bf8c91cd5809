/** How fast the machine is at the moment, and whether it stayed so while something was measured. */
import { sleep, systemClock } from "../lib/core/clock.ts";
import { Chain } from "./chain.ts";

/** What a server that has just answered still does (its threads spin a while, rubbish is collected) is over by then. */
const SETTLE_MS = 60;
/** Some 30 ms each on two cores; the fastest counts, since two threads that wake on one core say nothing of the other. */
const MULTIPLY_ADDS = 1.5e9;
const TURNS = 4;

/** Readings at the start, so that the first cells too have a best one to be judged by. */
const PROBE_MS = 3000;

/** A reading further below the best one than this share is of another machine: a slower one, or one with a core fewer. */
export const PACE_CHANGE_MAX = 0.1;

/** Readings before and after something was measured. */
export type Readings = readonly [number, number];

/**
 * Whether what lies between the readings was measured on the machine of `best`, the fastest reading seen. One slow reading is
 * a spell of a tenth of a second, such as there are in every cell; both are more.
 */
export function isSteady(readings: Readings, best: number): boolean {
  return readings.some((reading) => reading >= (1 - PACE_CHANGE_MAX) * best);
}

/** What one attempt at a measurement came to. */
export interface Attempt {
  /** Of each of its cells. */
  readonly readings: readonly Readings[];
  readonly best: number;
  /** How often it was measured, this time included. */
  readonly tries: number;
  readonly elapsedMs: number;
}

/** Attempts at one measurement at most. */
const TRIES_MAX = 3;
/** What takes longer is not measured again: within it every machine like this one changes its pace. */
const RETRIED_MS_MAX = 60_000;

export function mustMeasureAgain({ readings, best, tries, elapsedMs }: Attempt): boolean {
  return tries < TRIES_MAX && elapsedMs <= RETRIED_MS_MAX &&
    !readings.every((pair) => isSteady(pair, best));
}

/** How fast a machine is. */
export interface Pace {
  /** Multiply-adds a second on two threads together, in billions: the highest reading of this process so far. */
  readonly best: number;
  /** As `best`, at this moment. */
  read(): Promise<number>;
}

/** This machine's. A reading takes some 0.2 s. */
export class ChainPace implements Pace {
  #best = 0;

  private constructor(private readonly chain: Chain) {}

  static async start(): Promise<ChainPace> {
    const pace = new ChainPace(await Chain.start());
    const endMs = systemClock.now() + PROBE_MS;
    while (systemClock.now() < endMs) await pace.read();
    return pace;
  }

  get best(): number {
    return this.#best;
  }

  async read(): Promise<number> {
    await sleep(systemClock, SETTLE_MS);
    let least = Infinity;
    for (let turn = 0; turn < TURNS; turn++) {
      const startMs = systemClock.now();
      this.chain.runOnTwo(MULTIPLY_ADDS);
      least = Math.min(least, systemClock.now() - startMs);
    }
    const reading = MULTIPLY_ADDS / least / 1e6;
    this.#best = Math.max(this.#best, reading);
    return reading;
  }
}
