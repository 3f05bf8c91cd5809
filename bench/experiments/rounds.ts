/**
 * Rounds: what is compared is measured in turn, in one stretch of time, on servers that keep running, and every round gives
 * its own ratio. A server that has just started is another program: for its first few hundred requests kernels and
 * JavaScript are compiled beside them.
 */
import { measure } from "../load/measure.ts";
import type { LoadRequest } from "../load/request.ts";
import type { Loop } from "../load/run.ts";
import { isSteady, PACE_CHANGE_MAX } from "../pace.ts";
import { numberOf, type Row } from "../report/table.ts";
import { type Served, startOwn } from "../servers.ts";
import type { WorkloadName } from "../workloads/mod.ts";
import type { Bench, Cell } from "./experiment.ts";

const WARM_UP_REQUESTS = 200;
/** Clients of warm-ups and of the closed loops that find a capacity: twice the largest static decode batch. */
export const CLIENTS = 16;
/** Requests of a closed loop that finds the capacity of the moment. */
const CAPACITY_REQUESTS = 60;

/** A server and the columns of what is measured on it. */
export interface Side {
  readonly name: string;
  readonly flags: readonly string[];
  readonly columns: Row;
}

/** Started and warmed up when first asked for, running until disposed of. */
export class WarmServers implements AsyncDisposable {
  readonly #servers = new Map<string, Served>();

  constructor(private readonly bench: Bench, private readonly workload: WorkloadName) {}

  async get({ name, flags }: Side): Promise<Served> {
    const running = this.#servers.get(name);
    if (running !== undefined) return running;
    const { bench } = this;
    const served = await startOwn(name, [...flags, ...bench.options.serverFlags]);
    this.#servers.set(name, served);
    const requests = await bench.requests("warm-up", this.workload, WARM_UP_REQUESTS);
    const { connectionsMax, timeoutMs, targets } = bench.options;
    await measure(served, requests, {
      ...{ label: `${name}, warm-up`, loop: { kind: "closed", clients: CLIENTS }, warmUp: [] },
      ...{ connectionsMax, timeoutMs, targets, stop: bench.stop },
    });
    return served;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const served of this.#servers.values()) await served[Symbol.asyncDispose]();
    this.#servers.clear();
  }
}

/** What is done with the sides of a round. */
export interface Load {
  /** Of the round in its experiment; in it the sides' names are. */
  readonly name: string;
  readonly round: number;
  readonly workload: WorkloadName;
  readonly count: number;
  /** Measured first in every round: its capacity of the moment, in requests a second, is given to `loop`. */
  readonly capacityOf: Side | null;
  readonly loop: (capacityPerSecond: number) => Loop;
  /** Runs the load on one side; the bench's own loads if left out. */
  readonly measured?: (
    side: Side,
    label: string,
    served: Served,
    requests: readonly LoadRequest[],
    loop: Loop,
  ) => Promise<Row>;
}

/** The order of sides in a round: every other round backwards, so that none always comes first. */
export function turns<T>(sides: readonly T[], round: number): T[] {
  return round % 2 === 0 ? sides.toReversed() : [...sides];
}

/**
 * One round of a load on all sides. Every round has requests of its own, the same for its sides: servers that keep running
 * remember pictures.
 */
export async function runRound(
  bench: Bench,
  servers: WarmServers,
  sides: readonly Side[],
  { name, round, workload, count, capacityOf, loop, measured }: Load,
): Promise<void> {
  const cells = sides.map((side): Cell => ({
    name: `${side.name}/${name}round ${round}`,
    columns: { workload, ...side.columns, round },
  }));
  await bench.round(cells, async (again) => {
    const label = `${name}round ${round}${again}`;
    // Nothing of a start belongs into the round.
    for (const side of sides) await servers.get(side);
    let capacity = NaN;
    if (capacityOf !== null) {
      const requests = await bench.requests(`capacity ${label}`, workload, CAPACITY_REQUESTS);
      const closed = { kind: "closed", clients: CLIENTS } as const;
      const row = await bench.load(`capacity ${label}`, await servers.get(capacityOf), requests, [], closed);
      capacity = numberOf(row, "requests_per_s");
    }
    const requests = await bench.requests(`requests ${label}`, workload, count);
    const rows = new Map<Side, Row>();
    let before = await bench.pace();
    for (const side of turns(sides, round)) {
      if (bench.stop.aborted) return [];
      const served = await servers.get(side), title = `${side.name} ${label}`;
      const figures = await (measured === undefined
        ? bench.load(title, served, requests, [], loop(capacity))
        : measured(side, title, served, requests, loop(capacity)));
      const after = await bench.pace();
      rows.set(side, { pace_before: before, pace_after: after, capacity_per_s: capacity, ...figures });
      before = after;
    }
    return sides.map((side) => rows.get(side)!);
  });
}

/** How steady the machine was, for the page. */
export function steadinessText(rows: readonly Row[]): string {
  const counted = rows.filter((row) => Number.isFinite(numberOf(row, "tries")));
  const again = counted.filter((row) => numberOf(row, "tries") > 1).length;
  const slow = counted.filter((row) => {
    return !isSteady([numberOf(row, "pace_before"), numberOf(row, "pace_after")], numberOf(row, "pace_best"));
  }).length;
  return `Servers keep running and are warmed up with ${WARM_UP_REQUESTS} requests; every round has pictures of its own. ` +
    "Before and after every cell a chain of multiply-adds on two threads tells the machine's pace; a round with a cell around " +
    `which both were more than ${
      100 * PACE_CHANGE_MAX
    } % below the best so far was measured again, at most twice, unless that would take more than a ` +
    `minute: ${again} of ${counted.length} cells were, and ${slow} stayed that slow.`;
}
