/** What every experiment is given: its options, the table of its results, and a way to stop. */
import { systemClock, timestamp } from "../../lib/core/clock.ts";
import { Draws } from "../draws.ts";
import { countedColumns, figureColumns } from "../load/columns.ts";
import type { Targets } from "../load/figures.ts";
import { measure } from "../load/measure.ts";
import { mustMeasureAgain, type Pace, type Readings } from "../pace.ts";
import type { LoadRequest } from "../load/request.ts";
import type { Loop } from "../load/run.ts";
import type { Served } from "../servers.ts";
import { type WorkloadName, WORKLOADS } from "../workloads/mod.ts";
import type { Ratio } from "../report/agreement.ts";
import type { Specification } from "../report/plots.ts";
import { numberOf, type ResultTable, type Row, stopped } from "../report/table.ts";

export interface BenchOptions {
  readonly seed: string;
  /** Fewer requests, loads and rounds. */
  readonly quick: boolean;
  /** null takes the experiment's own number. */
  readonly requests: number | null;
  readonly workload: WorkloadName | null;
  readonly outputTokens: number | null;
  readonly data: string | null;
  readonly contextTokens: number;
  readonly imageTokens: number;
  readonly fresh: boolean;
  /** METHOD:RATIO of every server started here; null leaves the caches whole. */
  readonly compress: string | null;
  /** Names of compression methods, as the server knows them. */
  readonly methods: readonly string[];
  readonly peers: readonly string[];
  /** null takes the experiment's own. */
  readonly clients: readonly number[] | null;
  readonly rates: readonly number[] | null;
  readonly rounds: number | null;
  readonly targets: Targets;
  readonly connectionsMax: number;
  readonly timeoutMs: number;
  /** For every server of this project's that is started. */
  readonly serverFlags: readonly string[];
  /** No further measurement is begun after this time of the system's clock. */
  readonly deadlineMs: number;
}

export interface Report {
  /** Markdown, without the page's heading. */
  readonly text: string;
  readonly plots: readonly { readonly name: string; readonly spec: Specification }[];
}

export interface Experiment {
  readonly name: string;
  /** One line for the help text. */
  readonly summary: string;
  run(bench: Bench): Promise<void>;
  report(rows: readonly Row[]): Report;
  /** What two runs should agree in; none of an experiment that is the same every time. */
  ratios?(rows: readonly Row[]): Ratio[];
}

/** A cell of the table without its figures. */
export interface Cell {
  readonly name: string;
  readonly columns: Row;
}

export class Bench {
  /** Measurements that were not begun because the time was over. */
  left = 0;

  constructor(
    readonly options: BenchOptions,
    readonly table: ResultTable,
    readonly stop: AbortSignal,
    /** Columns that every row begins with: commit, machine. */
    private readonly common: Row,
    readonly say: (line: string) => void,
    private readonly machine: Pace,
  ) {}

  /**
   * Measures one cell of the table unless it is there already, the run was stopped, or its time is over. `measured` returns the
   * cell's own columns. A cell that was interrupted is not kept.
   */
  async cell(name: string, columns: Row, measured: () => Promise<Row>): Promise<Row | null> {
    const known = this.table.find(name);
    if (known !== undefined) return known;
    if (this.#isOver()) {
      this.left++;
      return null;
    }
    const begun = timestamp();
    const row = { cell: name, begun, ...this.common, ...columns, ...await measured() };
    if (this.stop.aborted) {
      this.table.append(stopped(row));
      return null;
    }
    this.table.append(row);
    this.say(`${name}: ${summaryOf(row)}`);
    return row;
  }

  /**
   * Cells that are compared with each other, measured one after the other by `measured` once `ready` has made all that
   * they need; null says that the run was stopped meanwhile. It returns the columns of each, the pace before and after it among
   * them; fewer when the run was stopped. All are measured again, with `again` in the name of the requests, when the machine
   * changed its pace meanwhile; pace.ts says how often at most. Those that are in the table already stay.
   */
  async round<Ready>(
    cells: readonly Cell[],
    ready: () => Promise<Ready | null>,
    measured: (ready: Ready, again: string) => Promise<ReadonlyMap<Cell, Row>>,
  ): Promise<void> {
    if (cells.every(({ name }) => this.table.find(name) !== undefined)) return;
    if (this.#isOver()) {
      this.left += cells.length;
      return;
    }
    const given = await ready();
    if (given === null) return;
    for (let tries = 1;; tries++) {
      const begun = timestamp(), begunMs = systemClock.now();
      const measuredRows = await measured(given, tries === 1 ? "" : `, again ${tries}`);
      const { best } = this.machine;
      const rows = [...measuredRows].map(([{ name, columns }, row]): Row => ({
        ...{ cell: name, begun, ...this.common, ...columns, ...row, tries, pace_best: best },
      }));
      if (this.stop.aborted) {
        for (const row of rows) this.table.append(stopped(row));
        return;
      }
      const readings = rows.map((row): Readings => [
        numberOf(row, "pace_before"),
        numberOf(row, "pace_after"),
      ]);
      if (mustMeasureAgain({ readings, best, tries, elapsedMs: systemClock.now() - begunMs })) {
        const list = readings.map(([before]) => before.toFixed(0)).join(", ");
        this.say(
          `${cells[0].name} and what it is compared with once more: pace ${list} of ${best.toFixed(0)}`,
        );
        continue;
      }
      for (const row of rows.filter(({ cell }) => this.table.find(String(cell)) === undefined)) {
        this.table.append(row);
        this.say(`${row.cell}: ${summaryOf(row)}`);
      }
      return;
    }
  }

  #isOver(): boolean {
    return this.stop.aborted || systemClock.now() > this.options.deadlineMs;
  }

  /** The machine's pace at this moment. */
  async pace(): Promise<number> {
    return await this.machine.read();
  }

  /** Requests of a workload; the same name and seed give the same ones. */
  async requests(
    name: string,
    workload: WorkloadName,
    count: number,
    fresh = this.options.fresh,
  ): Promise<LoadRequest[]> {
    const { outputTokens, data, contextTokens, imageTokens } = this.options;
    return await WORKLOADS[workload]({
      count,
      fresh,
      outputTokens,
      data,
      contextTokens,
      imageTokens,
      draws: this.draws(name),
    });
  }

  draws(name: string): Draws {
    return new Draws(`${this.options.seed} ${name}`);
  }

  /** Runs a load and returns its columns. */
  async load(
    label: string,
    served: Served,
    requests: readonly LoadRequest[],
    warmUp: readonly LoadRequest[],
    loop: Loop,
  ): Promise<Row> {
    const { connectionsMax, timeoutMs, targets } = this.options;
    const { figures, counted } = await measure(served, requests, {
      label,
      loop,
      warmUp,
      connectionsMax,
      timeoutMs,
      targets,
      stop: this.stop,
    });
    return { ...figureColumns(figures), ...countedColumns(counted, figures) };
  }
}

function summaryOf(row: Row): string {
  const value = (name: string, digits = 1) =>
    typeof row[name] === "number" && Number.isFinite(row[name]) ? row[name].toFixed(digits) : "–";
  const right = typeof row.right === "number" && Number.isFinite(row.right)
    ? `, ${(100 * row.right).toFixed(1)} % right`
    : "";
  return `${value("requests_per_s")} requests/s, TTFT p50 ${value("ttft_p50_ms", 0)} p99 ${
    value("ttft_p99_ms", 0)
  } ms, ${row.refused ?? 0} refused, ${row.errors ?? 0} errors${right}`;
}

/** Later than this at p99, and the load was not the one that was meant: something else held the machine. */
const LATENESS_MS_MAX = 25;

/** A line about measurements that cannot be trusted; none when all can. */
export function doubts(rows: readonly Row[]): string[] {
  const late = rows.filter((row) => numberOf(row, "lateness_p99_ms") > LATENESS_MS_MAX);
  if (late.length === 0) return [];
  const cells = late.map((row) => `${row.cell} (${numberOf(row, "lateness_p99_ms").toFixed(0)} ms)`);
  return [
    "",
    `Not to be trusted, since requests were sent more than ${LATENESS_MS_MAX} ms late at p99: ${
      cells.join(", ")
    }.`,
  ];
}
