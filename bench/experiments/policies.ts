/**
 * Scheduling policies side by side: dynamic windows, first come first served, and static batches pXcYdZ, each under the same
 * open load at several times the rate that p1c1d8 can do. That rate is followed, and the policies take turns: a machine that
 * changes its pace is the same for all that is compared. A turn is a cell of each side; a round passes over all loads, with one
 * turn of each or several. The table's column `round` numbers the turns of a load.
 */
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { pairedRatio, type Ratio, RATIOS_TEXT, ratioText } from "../report/agreement.ts";
import { medians } from "../report/medians.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { isAnsweredWhole, isWhole, markNotes, ttftTail, WHOLE_REQUESTS_MIN } from "../report/tail.ts";
import { percentile } from "../percentile.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { Capacity, type Loops } from "./capacity.ts";
import { beyondLines, boundLine } from "./policy_promises.ts";
import {
  CLIENTS,
  type Given,
  roundsByStart,
  runRound,
  type Side,
  startsText,
  steadinessText,
  WarmServers,
} from "./rounds.ts";
import {
  CELL_S_MAX,
  CELLS_S_MAX,
  hasOthers,
  hasTurn,
  requestsOfCell,
  spentOn,
  timeLimitsS,
} from "./turn_limit.ts";

export const POLICIES = ["dynamic", "fcfs", "p1c1d8", "p2c2d8", "p3c3d6", "p4c4d8"] as const;
type Policy = typeof POLICIES[number];
export const BASELINE = "p1c1d8" satisfies Policy;

/** How a load is offered in a round: so many turns of so many requests. */
interface Turns {
  readonly requests: number;
  readonly turns: number;
  /** Of the run's turns, those in which the policies that are not compared are measured too. */
  readonly withOthers: number;
}

interface Size {
  readonly rounds: number;
  /** Multiples of the capacity. */
  readonly rates: readonly number[];
  readonly upToCapacity: Turns;
  readonly beyond: Turns;
  readonly loops: Loops;
}

const FULL: Size = {
  rounds: 3,
  rates: [0.25, 0.5, 0.8, 1, 2, 4],
  upToCapacity: { requests: 200, turns: 1, withOthers: 3 },
  beyond: { requests: 200, turns: 1, withOthers: 3 },
  // A round takes minutes: each load by the capacity just before it.
  loops: { requests: 200, count: 1, secondsMax: Infinity },
};
/**
 * Up to the capacity what differs between two cells of the same side is the machine's moment, hardly the number of requests:
 * many short turns. Beyond it a queue has to fill first, and what comes then is steady: few long ones. LOG.md has the figures.
 */
const QUICK: Size = {
  rounds: 10,
  rates: [0.5, 0.8, 1, 2, 4],
  upToCapacity: { requests: 30, turns: 7, withOthers: 2 },
  beyond: { requests: 240, turns: 1, withOthers: 1 },
  loops: { requests: 60, count: 5, secondsMax: 90 },
};
/** Between these two ratios are taken; the others need no more than a look. */
const COMPARED: readonly Policy[] = ["dynamic", "p1c1d8"];

/** Requests that may wait, for every policy: so few that four times the capacity is refused and not only delayed. */
const WAITING_MAX = 32;
/** Five times smaller, as the paper compresses, by the method that keeps most answers right without training. */
export const COMPRESS_DEFAULT = "keydiff:0.8";

/** The server's flags for a policy. */
export function policyFlags(policy: string): string[] {
  return ["--policy", policy.startsWith("p") ? `static:${policy}` : policy];
}

export function compressFlags(compress: string): string[] {
  return ["--kv-compress", compress];
}

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const size = options.quick ? QUICK : FULL;
  const workload = options.workload ?? "gqa-caption";
  const compress = options.compress ?? COMPRESS_DEFAULT;
  const sides = POLICIES.map((policy): Side => ({
    name: policy,
    flags: [...policyFlags(policy), ...compressFlags(compress), "--max-waiting", String(WAITING_MAX)],
    columns: { compress, policy },
  }));
  const baseline = sides[POLICIES.indexOf(BASELINE)];
  const rounds = options.rounds ?? size.rounds;
  const loads = (options.rates ?? size.rates).map((rate) => ({
    rate,
    ...(rate > 1 ? size.beyond : size.upToCapacity),
  }));
  const limitsS = options.quick
    ? timeLimitsS(loads.map((load) => ({ ...load, turns: load.turns * rounds })), WAITING_MAX)
    : loads.map(() => Infinity);
  const times = POLICIES.length / COMPARED.length - 1;
  for (const [start, ofStart] of roundsByStart(rounds).entries()) {
    await using servers = new WarmServers(bench, workload);
    const capacity = new Capacity(bench, servers, baseline, workload, size.loops);
    for (const round of ofStart) {
      for (const [at, { rate, requests, turns, withOthers }] of loads.entries()) {
        const atRate = sides.map((side) => ({
          ...side,
          columns: { ...side.columns, load: rate, start: start + 1 },
        }));
        const compared = atRate.filter((_, i) => COMPARED.includes(POLICIES[i]));
        for (let i = 1; i <= turns; i++) {
          const spent = spentOn(bench.table.rows.filter((row) => row.load === rate && isCompared(row)));
          if (!hasTurn(spent, limitsS[at], round, rounds)) break;
          const others = { times, ofTurns: withOthers, allTurns: turns * rounds };
          const turn = turns * (round - 1) + i, most = options.requests ?? requests;
          const given = async (): Promise<Given> => {
            const { perSecond, columns } = await capacity.at(
              size.loops.count > 1 ? `${round}` : `${round}, ${rate}x`,
            );
            const count = options.quick && options.requests === null
              ? requestsOfCell(most, rate, perSecond)
              : most;
            // The same gaps at every rate, only shorter.
            const draws = bench.draws(`arrivals ${turn}`);
            const timesMs = arrivalTimesMs(poisson(rate * perSecond), draws, count);
            return { loop: { kind: "open", timesMs }, columns, count };
          };
          await runRound(bench, servers, hasOthers(spent, limitsS[at], others) ? atRate : compared, {
            ...{ name: `${rate}x/`, round: turn, workload, count: most, given },
          });
        }
      }
    }
  }
}

function isCompared({ policy }: Row): boolean {
  return COMPARED.includes(policy as Policy);
}

/** How near a row comes to what its load and its own stage times allow. */
function ofBound(row: Row): number {
  return numberOf(row, "requests_per_s") /
    Math.min(numberOf(row, "bound_per_s"), numberOf(row, "offered_per_s"));
}

/** The page's tail: of short cells the 90th percentile, of whole ones the 99th. */
function tailOf(measured: readonly Row[]): "p99" | "p90" {
  return measured.every(isWhole) ? "p99" : "p90";
}

/** Loads at which a cell of what is compared has too few answers for a 99th percentile. */
function fewAnswersNotes(measured: readonly Row[]): string[] {
  const few = measured.filter((row) => isCompared(row) && !isAnsweredWhole(row)).map(({ load }) => load);
  if (tailOf(measured) === "p90" || few.length === 0) return [];
  const loads = [...new Set(few)].map((load) => `${load}x`).join(", ");
  return ["", `At ${loads} the ratio of p99 has cells of fewer than ${WHOLE_REQUESTS_MIN} answers.`];
}

/** Of `all`, what dynamic has by what the baseline has, at each load. */
function ratios(all: readonly Row[]): Ratio[] {
  const { measured, rows } = summary(all);
  const loads = [...new Set(rows.map((row) => numberOf(row, "load")))];
  return loads.flatMap((load) => {
    const of = (policy: Policy) => measured.filter((row) => row.policy === policy && row.load === load);
    const ratio = (what: string, column: string) =>
      pairedRatio(`${what}, dynamic against ${BASELINE} at ${load}x`, of("dynamic"), of(BASELINE), column);
    return [
      ...ratio("answered/s", "requests_per_s"),
      ...ratio("goodput/s", "goodput_per_s"),
      ...ratio("TTFT p50", "ttft_p50_ms"),
      ...ratio("TTFT p90", "ttft_p90_ms"),
      ...(tailOf(measured) === "p99" ? ratio("TTFT p99", "ttft_p99_ms") : []),
    ];
  });
}

/** Columns that cells of fewer requests cannot tell. */
const TAILS = ["ttft_p99_ms", "itl_p99_ms", "lateness_p99_ms"] as const;

function summary(all: readonly Row[]): { readonly measured: readonly Row[]; readonly rows: readonly Row[] } {
  const measured = all.filter((row) => typeof row.load === "number");
  const rows = medians(measured, ["policy", "load"])
    .map((row): Row => {
      const ifWhole = (value: number) => isWhole(row) ? value : NaN;
      return {
        ...row,
        of_bound: ifWhole(ofBound(row)),
        ...Object.fromEntries(TAILS.map((column) => [column, ifWhole(numberOf(row, column))])),
        refused_share: numberOf(row, "refused") / numberOf(row, "requests"),
      };
    })
    .sort((a, b) =>
      numberOf(a, "load") - numberOf(b, "load") ||
      POLICIES.indexOf(a.policy as Policy) - POLICIES.indexOf(b.policy as Policy)
    );
  return { measured, rows };
}

/** How long the cells are, and what they cannot tell. */
function sizeNotes(rows: readonly Row[]): string[] {
  const turns = rows.filter(({ policy }) => policy === "dynamic").map((row) =>
    `${row.rounds} at ${row.load}x`
  );
  return [
    `Turns of what is compared: ${
      turns.join(", ")
    }. With \`--quick\` its cells have ${CELLS_S_MAX} s, each load a share of ` +
    `them, and a cell's requests are due within ${CELL_S_MAX} s: a slow server has fewer turns of fewer requests.`,
    ...(rows.every(isWhole) ? [] : [
      `Cells of fewer than ${WHOLE_REQUESTS_MIN} requests tell neither a share of the bound nor a 99th percentile. ` +
      "Their answered/s and goodput/s are less than what was offered even where all is answered in time: the time goes on to the last " +
      "answer, and nothing more is due in the last part of it.",
    ]),
  ];
}

function report(all: readonly Row[]): Report {
  const capacities = all.map((row) => numberOf(row, "capacity_per_s")).filter(Number.isFinite);
  const agesS = all.map((row) => numberOf(row, "capacity_age_s")).filter(Number.isFinite);
  const { measured, rows } = summary(all);
  const byPolicy = [...rows].sort((a, b) =>
    POLICIES.indexOf(a.policy as Policy) - POLICIES.indexOf(b.policy as Policy)
  );
  const tail = tailOf(measured);
  const x = { field: "load", title: `offered load, multiples of ${BASELINE}'s capacity`, log: true };
  const series = { field: "policy", title: "policy" };
  const ages = agesS.length === 0
    ? ""
    : `; the oldest loop that a load's capacity is of began ${Math.max(...agesS)} s before it at most, ${
      percentile(agesS, 0.5).toFixed(0)
    } s in half of the turns`;
  const text = [
    `Open loop, Poisson arrivals, one seed, \`${rows[0]?.workload}\`, compression \`${
      rows[0]?.compress
    }\`, medians of as ` +
    "many turns as the last column says; a turn is a cell of each policy, one after the other (a round of the " +
    `ratios below; the table's column \`round\` numbers the turns of a load). ${
      startsText(measured.filter(isCompared))
    } ${BASELINE}'s capacity, by closed ` +
    `loops of ${CLIENTS} clients: ${percentile(capacities, 0.5).toFixed(1)} requests/s, ` +
    `${Math.min(...capacities).toFixed(1)} to ${Math.max(...capacities).toFixed(1)}${ages}.`,
    "",
    steadinessText(all),
    "",
    markdownTable(rows, [
      { heading: "load", text: (row) => `${row.load}x` },
      plain("policy", "policy"),
      number("offered/s", "offered_per_s"),
      number("answered/s", "requests_per_s"),
      number("goodput/s", "goodput_per_s"),
      percent("of the bound", "of_bound"),
      percent("refused", "refused_share"),
      plain("errors", "errors"),
      number("TTFT p50 ms", "ttft_p50_ms", 0),
      number("TTFT p90 ms", "ttft_p90_ms", 0),
      ttftTail("TTFT p99 ms"),
      number("paper's TTFT p50 ms", "ttft_paper_p50_ms", 0),
      number("TPOT p50 ms", "tpot_p50_ms"),
      number("ITL p99 ms", "itl_p99_ms"),
      number("normalised p50 ms/token", "normalised_p50_ms"),
      percent("right", "right"),
      number("own lateness p99 ms", "lateness_p99_ms"),
      number("requests of a cell", "requests", 0),
      number("answered", "answered", 0),
      plain("turns", "rounds"),
    ]),
    ...markNotes(rows),
    "",
    ...sizeNotes(rows).flatMap((note) => [note, ""]),
    RATIOS_TEXT,
    "",
    ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
    ...fewAnswersNotes(measured),
    "",
    boundLine(rows.filter(({ policy }) => policy === "dynamic")),
    "",
    ...beyondLines(rows, { baseline: BASELINE, waitingMax: WAITING_MAX }),
    "",
    "TTFT is request due to first non-empty text at the client; the paper's is prefill's end minus arrival at the " +
    "server. The bound is the smaller of the offered rate and the answered requests by the seconds in which the device was busy.",
    ...doubts(measured),
  ].join("\n");
  return {
    text,
    plots: [
      {
        name: "policies-ttft",
        spec: linePlot({
          name: "policies-ttft",
          title: "Time to first token by load",
          rows: byPolicy,
          x,
          y: [
            { field: "ttft_p50_ms", title: "TTFT p50, ms", log: true },
            { field: `ttft_${tail}_ms`, title: `TTFT ${tail}, ms`, log: true },
          ],
          series,
        }),
      },
      {
        name: "policies-throughput",
        spec: linePlot({
          name: "policies-throughput",
          title: "Answered requests and refusals by load",
          rows: byPolicy,
          x,
          y: [
            { field: "requests_per_s", title: "answered requests/s" },
            { field: "refused_share", title: "requests refused", share: true },
          ],
          series,
        }),
      },
    ],
  };
}

export const policies: Experiment = {
  name: "policies",
  summary: "dynamic, fcfs and static batches at 0.25 to 4 times p1c1d8's capacity",
  run,
  report,
  ratios,
};
