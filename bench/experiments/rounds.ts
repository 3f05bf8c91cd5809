/**
 * Rounds: what is compared is measured in turn, in one stretch of time, on servers that keep running, and every round gives
 * its own ratio. A server that has just started is another program: for its first few hundred requests kernels and
 * JavaScript are compiled beside them.
 */
import { systemClock } from "../../lib/core/clock.ts";
import { measure } from "../load/measure.ts";
import type { LoadRequest } from "../load/request.ts";
import type { Loop } from "../load/run.ts";
import { isSteady, PACE_CHANGE_MAX } from "../pace.ts";
import { numberOf, type Row } from "../report/table.ts";
import { type Served, startOwn } from "../servers.ts";
import type { WorkloadName } from "../workloads/mod.ts";
import type { Bench, Cell } from "./experiment.ts";
import { hasTurn, spentOn } from "./turn_limit.ts";

const WARM_UP_REQUESTS = 200;
/** A slow model's warm-up is over then: what it has not compiled by that time is a small part of its steps. */
const WARM_UP_S_MAX = 30;
/** Clients of warm-ups and of the closed loops that find a capacity: twice the largest static decode batch. */
export const CLIENTS = 16;
/** For a group's cells in a quick run; at 40 to 100 requests/s the experiments' took 11 to 29 s. */
const GROUP_S_MAX = 60;
/** Processes of one program differ by a few percent as long as they run: rounds are spread over so many starts. */
const STARTS = 2;

/** A server and the columns of what is measured on it. */
export interface Side {
  readonly name: string;
  readonly flags: readonly string[];
  readonly columns: Row;
}

/** Started and warmed up when first asked for, running until disposed of. */
export class WarmServers implements AsyncDisposable {
  readonly #servers = new Map<string, Served>();

  constructor(
    private readonly bench: Bench,
    private readonly workload: WorkloadName,
    private readonly warmUpRequests = WARM_UP_REQUESTS,
  ) {}

  async get({ name, flags }: Side): Promise<Served> {
    const running = this.#servers.get(name);
    if (running !== undefined) return running;
    const { bench } = this;
    const served = await startOwn(name, [...flags, ...bench.options.serverFlags]);
    this.#servers.set(name, served);
    const requests = await bench.requests("warm-up", this.workload, this.warmUpRequests);
    const { connectionsMax, timeoutMs, targets } = bench.options;
    const enough = new AbortController();
    const cancel = systemClock.after(1000 * WARM_UP_S_MAX, () => enough.abort());
    try {
      await measure(served, requests, {
        ...{ label: `${name}, warm-up`, loop: { kind: "closed", clients: CLIENTS }, warmUp: [] },
        ...{ connectionsMax, timeoutMs, targets, stop: AbortSignal.any([bench.stop, enough.signal]) },
      });
    } finally {
      cancel();
    }
    return served;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const served of this.#servers.values()) await served[Symbol.asyncDispose]();
    this.#servers.clear();
  }
}

/** What the sides of a round are loaded with, and columns that tell of it. */
export interface Given {
  readonly loop: Loop;
  readonly columns: Row;
  /** Requests of each side, if not the load's number. */
  readonly count?: number;
}

/** What is done with the sides of a round. */
export interface Load {
  /** Of the round in its experiment; in it the sides' names are. */
  readonly name: string;
  readonly round: number;
  readonly workload: WorkloadName;
  readonly count: number;
  /** Asked for when the servers run, if the round is measured at all. */
  readonly given: () => Promise<Given>;
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
  { name, round, workload, count, given, measured }: Load,
): Promise<void> {
  const cells = sides.map((side): Cell => ({
    name: `${side.name}/${name}round ${round}`,
    columns: { workload, ...side.columns, round },
  }));
  // Nothing of a start belongs into the round, and nothing is started after a stop.
  const ready = async () => {
    for (const side of sides) {
      if (bench.stop.aborted) return null;
      await servers.get(side);
    }
    return bench.stop.aborted ? null : await given();
  };
  await bench.round(cells, ready, async ({ loop, columns, count: fitting }, again) => {
    const label = `${name}round ${round}${again}`;
    const requests = await bench.requests(`requests ${label}`, workload, fitting ?? count);
    const rows = new Map<Cell, Row>();
    let before = await bench.pace();
    for (const at of turns([...sides.keys()], round)) {
      if (bench.stop.aborted) break;
      const served = await servers.get(sides[at]), title = `${sides[at].name} ${label}`;
      const figures = await (measured === undefined
        ? bench.load(title, served, requests, [], loop)
        : measured(sides[at], title, served, requests, loop));
      const after = await bench.pace();
      rows.set(cells[at], { pace_before: before, pace_after: after, ...columns, ...figures });
      before = after;
    }
    return rows;
  });
}

/** As many clients as in warm-ups, whatever pace the machine has. */
export const closedLoop = (): Promise<Given> =>
  Promise.resolve({ loop: { kind: "closed", clients: CLIENTS }, columns: {} });

/** `rounds` rounds from 1 on, those of one start of the servers together. */
export function roundsByStart(rounds: number): number[][] {
  const each = Math.ceil(rounds / STARTS);
  const all = Array.from({ length: rounds }, (_, i) => i + 1);
  return [...Map.groupBy(all, (round) => Math.ceil(round / each)).values()];
}

/**
 * Rounds of closed loops in groups of sides that are compared with each other. All groups have their first half before the
 * second begins: a spell of the machine lasts minutes, and should not be all that one of them sees. In a quick run a group on a
 * slow server has fewer rounds.
 */
export async function closedRounds(
  bench: Bench,
  groups: readonly (readonly Side[])[],
  workload: WorkloadName,
  { rounds, requests }: { readonly rounds: number; readonly requests: number },
): Promise<void> {
  const all = bench.options.rounds ?? rounds, limitS = bench.options.quick ? GROUP_S_MAX : Infinity;
  for (const [i, ofStart] of roundsByStart(all).entries()) {
    for (const sides of groups) {
      const isOfGroup = ({ cell }: Row) =>
        sides.some(({ name }) => String(cell).startsWith(`${name}/round `));
      const ofSides = sides.map((side) => ({ ...side, columns: { ...side.columns, start: i + 1 } }));
      await using servers = new WarmServers(bench, workload);
      for (const round of ofStart) {
        if (!hasTurn(spentOn(bench.table.rows.filter(isOfGroup)), limitS, round, all)) continue;
        await runRound(bench, servers, ofSides, {
          ...{ name: "", round, workload, count: bench.options.requests ?? requests },
          given: closedLoop,
        });
      }
    }
  }
}

/** "8 rounds", or "1 to 8 rounds" where slow sides had fewer; `joined` are rows of medians. */
export function roundsText(joined: readonly Row[]): string {
  const counts = [...new Set(joined.map((row) => numberOf(row, "rounds")))].sort((a, b) => a - b);
  return `${counts.length > 1 ? `${counts[0]} to ` : ""}${counts.at(-1) ?? 0} rounds`;
}

/** How many cells of `compared` are of which start of the servers; nothing where that was not recorded. */
export function startsText(compared: readonly Row[]): string {
  const starts = Map.groupBy(
    compared.filter((row) => Number.isFinite(numberOf(row, "start"))),
    (row) => numberOf(row, "start"),
  );
  const counts = [...starts].sort(([a], [b]) => a - b).map(([, rows]) => rows.length);
  if (counts.length === 0) return "";
  if (counts.length === 1) return "All that is compared was measured on servers that were started once.";
  const list = counts.map((count, i) => `${count} after ${i === 0 ? "the first" : "another"} start`);
  return `Cells of what is compared, by the start of their servers: ${list.join(", ")}.`;
}

/** How steady the machine was, for the page. */
export function steadinessText(rows: readonly Row[]): string {
  const counted = rows.filter((row) => Number.isFinite(numberOf(row, "tries")));
  const again = counted.filter((row) => numberOf(row, "tries") > 1).length;
  const slow = counted.filter((row) => {
    return !isSteady([numberOf(row, "pace_before"), numberOf(row, "pace_after")], numberOf(row, "pace_best"));
  }).length;
  return `Servers keep running and are warmed up with ${WARM_UP_REQUESTS} requests, or those of ${WARM_UP_S_MAX} s; every round has pictures of its own. ` +
    "Before and after every cell a chain of multiply-adds on two threads tells the machine's pace; a round with a cell around " +
    `which both were more than ${
      100 * PACE_CHANGE_MAX
    } % below the best since the command's start was measured again, at most twice, unless that would take more than a ` +
    `minute: ${again} of ${counted.length} cells were, and ${slow} stayed that slow.`;
}
