/** Gauges of a server over the time of a run. */
import { type Clock, sleep } from "../../lib/core/clock.ts";
import { type Samples, scrape } from "./exposition.ts";

export interface Reading {
  /** From the watch's start. */
  readonly atMs: number;
  readonly samples: Samples;
}

/** Scrapes every `everyMs` until it is disposed of. A scrape costs the server about a millisecond. */
export class GaugeWatch implements AsyncDisposable {
  readonly readings: Reading[] = [];
  readonly #done: Promise<void>;
  #over = false;

  constructor(url: string, everyMs: number, clock: Clock) {
    this.#done = this.#watch(url, everyMs, clock);
  }

  async #watch(url: string, everyMs: number, clock: Clock): Promise<void> {
    const startMs = clock.now();
    while (!this.#over) {
      const atMs = clock.now() - startMs;
      const samples = await scrape(url);
      if (samples !== null) this.readings.push({ atMs, samples });
      await sleep(clock, everyMs);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.#done;
  }
}

/** Mean over time of a gauge, each reading holding until the next; NaN for fewer than two. */
export function timeMean(readings: readonly Reading[], read: (samples: Samples) => number): number {
  let area = 0;
  for (let i = 0; i + 1 < readings.length; i++) {
    area += read(readings[i].samples) * (readings[i + 1].atMs - readings[i].atMs);
  }
  return area / ((readings.at(-1)?.atMs ?? NaN) - (readings[0]?.atMs ?? NaN));
}
