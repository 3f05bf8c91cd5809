/**
 * What a side can do at the moment, in requests a second, by closed loops: the median of the last ones. The machine's pace
 * changes over minutes; one short loop tells the rate within a tenth or so, and a load by it would carry that error.
 */
import { systemClock } from "../../lib/core/clock.ts";
import { percentile } from "../percentile.ts";
import { numberOf } from "../report/table.ts";
import type { WorkloadName } from "../workloads/mod.ts";
import type { Bench } from "./experiment.ts";
import { CLIENTS, type Given, type Side, type WarmServers } from "./rounds.ts";
import { requestsOfCell } from "./turn_limit.ts";

/** Fewer would end before all clients have had an answer. */
const REQUESTS_MIN = 2 * CLIENTS;

export interface Loops {
  /** Of one loop, of which the first fifth and the last do not count: a server fills up and empties in them. */
  readonly requests: number;
  /** Loops that the median is of; all of them are run at the first reading. */
  readonly count: number;
  /** No further loop begins after so long in loops, and each is of requests that fit into a cell's time. */
  readonly secondsMax: number;
}

interface Reading {
  readonly perSecond: number;
  readonly atMs: number;
}

export class Capacity {
  readonly #readings: Reading[] = [];
  #key = "";
  #seconds = 0;

  constructor(
    private readonly bench: Bench,
    private readonly servers: WarmServers,
    private readonly side: Side,
    private readonly workload: WorkloadName,
    private readonly loops: Loops,
  ) {}

  /** Runs another loop when it is asked with another key than before; `capacity_age_s` is of the oldest one in the median. */
  async at(key: string): Promise<{ readonly perSecond: number; readonly columns: Given["columns"] }> {
    const { count, secondsMax } = this.loops;
    if (key !== this.#key) {
      this.#key = key;
      do {
        if (this.#readings.length > 0 && this.#seconds > secondsMax) break;
        await this.#read(`capacity ${key}, ${this.#readings.length}`);
      } while (this.#readings.length < count && !this.bench.stop.aborted);
    }
    const last = this.#readings.slice(-count);
    const perSecond = percentile(last.map(({ perSecond }) => perSecond), 0.5);
    const capacity_age_s = Math.round((systemClock.now() - last[0].atMs) / 1000);
    return { perSecond, columns: { capacity_per_s: perSecond, capacity_age_s } };
  }

  async #read(label: string): Promise<void> {
    const { bench, workload } = this;
    const { requests: most, secondsMax } = this.loops;
    const known = this.#readings.at(-1);
    const count = known === undefined || secondsMax === Infinity
      ? most
      : Math.max(REQUESTS_MIN, requestsOfCell(most, 1, known.perSecond));
    const requests = await bench.requests(label, workload, count);
    const served = await this.servers.get(this.side);
    const atMs = systemClock.now();
    const row = await bench.load(label, served, requests, [], { kind: "closed", clients: CLIENTS });
    this.#seconds += (systemClock.now() - atMs) / 1000;
    this.#readings.push({ perSecond: numberOf(row, "steady_per_s"), atMs });
  }
}
