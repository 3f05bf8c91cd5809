/**
 * What a side can do at the moment, in requests a second: the median of its last closed loops. One loop of these tells the
 * rate within a tenth or so, and a load by it would carry that error; the machine's pace changes over minutes.
 */
import { percentile } from "../percentile.ts";
import { numberOf } from "../report/table.ts";
import type { WorkloadName } from "../workloads/mod.ts";
import type { Bench } from "./experiment.ts";
import { CLIENTS, type Side, type WarmServers } from "./rounds.ts";

/** Of one loop, of which the first fifth and the last do not count: a server fills up and empties in them. */
const REQUESTS = 60;
/** Loops that the median is of; all of them are run at the first reading. */
const LOOPS = 5;

export class Capacity {
  readonly #readings: number[] = [];
  #round = NaN;

  constructor(
    private readonly bench: Bench,
    private readonly servers: WarmServers,
    private readonly side: Side,
    private readonly workload: WorkloadName,
  ) {}

  /** Runs another loop when it is asked in another round than before. */
  async ofRound(round: number): Promise<number> {
    if (round !== this.#round) {
      this.#round = round;
      do await this.#read(`capacity ${round}, ${this.#readings.length}`); while (
        this.#readings.length < LOOPS && !this.bench.stop.aborted
      );
    }
    return percentile(this.#readings.slice(-LOOPS), 0.5);
  }

  async #read(label: string): Promise<void> {
    const { bench, workload } = this;
    const requests = await bench.requests(label, workload, REQUESTS);
    const served = await this.servers.get(this.side);
    const row = await bench.load(label, served, requests, [], { kind: "closed", clients: CLIENTS });
    this.#readings.push(numberOf(row, "steady_per_s"));
  }
}
