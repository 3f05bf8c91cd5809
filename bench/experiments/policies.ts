/**
 * Scheduling policies side by side: dynamic windows, first come first served, and static batches pXcYdZ, each under the same
 * open load at several times the rate that p1c1d8 can do. That rate is followed from round to round, and the policies take
 * turns: a machine that changes its pace is the same for all that is compared.
 */
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { pairedRatio, type Ratio, RATIOS_TEXT, ratioText } from "../report/agreement.ts";
import { medians } from "../report/medians.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { percentile } from "../percentile.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { Capacity } from "./capacity.ts";
import {
  CLIENTS,
  roundsByStart,
  runRound,
  type Side,
  STARTS_TEXT,
  steadinessText,
  WarmServers,
} from "./rounds.ts";

export const POLICIES = ["dynamic", "fcfs", "p1c1d8", "p2c2d8", "p3c3d6", "p4c4d8"] as const;
type Policy = typeof POLICIES[number];
export const BASELINE = "p1c1d8" satisfies Policy;

/** How a load is offered in a round: so many turns of so many requests. */
interface Turns {
  readonly requests: number;
  readonly turns: number;
}

interface Size {
  readonly rounds: number;
  /** Multiples of the capacity. */
  readonly rates: readonly number[];
  readonly upToCapacity: Turns;
  readonly beyond: Turns;
  /** Rounds in which the policies that are not compared are measured too. */
  readonly othersRounds: number;
}

const FULL: Size = {
  rounds: 3,
  rates: [0.25, 0.5, 0.8, 1, 2, 4],
  upToCapacity: { requests: 200, turns: 1 },
  beyond: { requests: 200, turns: 1 },
  othersRounds: 3,
};
/**
 * Up to the capacity what differs between two cells of the same side is the machine's moment, hardly the number of requests:
 * many short turns. Beyond it a queue has to fill first, and what comes then is steady: few long ones. LOG.md has the figures.
 */
const QUICK: Size = {
  rounds: 10,
  rates: [0.5, 0.8, 1, 2, 4],
  upToCapacity: { requests: 30, turns: 7 },
  beyond: { requests: 240, turns: 1 },
  othersRounds: 1,
};
/** Turns of a round in which they are. */
const OTHERS_TURNS = 2;
/** The 99th percentile of fewer requests is the last one or two of them, and the time after the last was due some percent. */
const WHOLE_REQUESTS_MIN = 200;
/** Between these two ratios are taken; the others need no more than a look. */
const COMPARED: readonly Policy[] = ["dynamic", "p1c1d8"];

/** What dynamic has to come to of the bound. */
const BOUND_SHARE_MIN = 0.9;

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
  for (const ofStart of roundsByStart(options.rounds ?? size.rounds)) {
    await using servers = new WarmServers(bench, workload);
    const capacity = new Capacity(bench, servers, baseline, workload);
    for (const round of ofStart) {
      for (const rate of options.rates ?? size.rates) {
        const { requests, turns } = rate > 1 ? size.beyond : size.upToCapacity;
        const count = options.requests ?? requests;
        const atRate = sides.map((side) => ({ ...side, columns: { ...side.columns, load: rate } }));
        const compared = atRate.filter((_, i) => COMPARED.includes(POLICIES[i]));
        for (let i = 1; i <= turns; i++) {
          const turn = turns * (round - 1) + i;
          const present = round <= size.othersRounds && i <= OTHERS_TURNS ? atRate : compared;
          await runRound(bench, servers, present, {
            ...{ name: `${rate}x/`, round: turn, workload, count },
            given: async () => {
              const perSecond = await capacity.ofRound(round);
              // The same gaps at every rate, only shorter.
              const draws = bench.draws(`arrivals ${turn}`);
              const timesMs = arrivalTimesMs(poisson(rate * perSecond), draws, count);
              return { loop: { kind: "open", timesMs }, columns: { capacity_per_s: perSecond } };
            },
          });
        }
      }
    }
  }
}

/** How near a row comes to what its load and its own stage times allow. */
function ofBound(row: Row): number {
  return numberOf(row, "requests_per_s") /
    Math.min(numberOf(row, "bound_per_s"), numberOf(row, "offered_per_s"));
}

/** The highest percentile that every cell has enough requests for. */
function tailOf(measured: readonly Row[]): "p99" | "p90" {
  return measured.every((row) => numberOf(row, "requests") >= WHOLE_REQUESTS_MIN) ? "p99" : "p90";
}

/** Of `all`, what dynamic has by what the baseline has, at each load. */
function ratios(all: readonly Row[]): Ratio[] {
  const { measured, rows } = summary(all);
  const loads = [...new Set(rows.map((row) => numberOf(row, "load")))];
  const tail = tailOf(measured);
  return loads.flatMap((load) => {
    const of = (policy: Policy) => measured.filter((row) => row.policy === policy && row.load === load);
    const ratio = (what: string, column: string) =>
      pairedRatio(`${what}, dynamic against ${BASELINE} at ${load}x`, of("dynamic"), of(BASELINE), column);
    return [
      ...ratio("answered/s", "requests_per_s"),
      ...ratio("goodput/s", "goodput_per_s"),
      ...ratio("TTFT p50", "ttft_p50_ms"),
      ...ratio(`TTFT ${tail}`, `ttft_${tail}_ms`),
    ];
  });
}

/** How near dynamic came to the bound, and what it did far above what the static batches can do. */
function promiseLines(rows: readonly Row[]): string[] {
  const own = rows.filter(({ policy }) => policy === "dynamic");
  const told = own.filter((row) => Number.isFinite(numberOf(row, "of_bound")));
  const shares = told.map((row) => `${(100 * numberOf(row, "of_bound")).toFixed(1)} % at ${row.load}x`);
  const kept = told.every((row) => numberOf(row, "of_bound") >= BOUND_SHARE_MIN);
  const most = own.at(-1), lower = own.at(-2);
  const theirs = rows.find((row) => row.policy === BASELINE && row.load === most?.load);
  if (most === undefined || lower === undefined || theirs === undefined) return [];
  const line = (row: Row) => {
    const codes = row.codes === undefined || row.codes === "" ? "" : ` (${row.codes})`;
    return `${number("", "requests_per_s").text(row)} answered/s, ${
      number("", "goodput_per_s").text(row)
    } of them inside ` +
      `the targets, ${percent("", "refused_share").text(row)} refused${codes}, accepted ones' TTFT p99 ${
        number("", "ttft_p99_ms", 0).text(row)
      } ms`;
  };
  const waitMs = 1000 * WAITING_MAX / numberOf(most, "requests_per_s");
  return [
    `dynamic came to ${shares.join(", ")} of the bound: ${kept ? "" : "not "}everywhere ${
      100 * BOUND_SHARE_MIN
    } % and more.`,
    "",
    `What happens beyond the capacity, where at most ${WAITING_MAX} requests may wait:`,
    "",
    `- dynamic at ${most.load}x: ${line(most)};`,
    `- dynamic at ${lower.load}x: ${line(lower)};`,
    `- ${BASELINE} at ${most.load}x: ${line(theirs)}.`,
    "",
    `${WAITING_MAX} that wait are ${
      waitMs.toFixed(0)
    } ms of what dynamic answers at ${most.load}x: TTFT cannot grow far ` +
    "beyond that, however much is offered.",
  ];
}

function summary(all: readonly Row[]): { readonly measured: readonly Row[]; readonly rows: readonly Row[] } {
  const measured = all.filter((row) => typeof row.load === "number");
  const rows = medians(measured, ["policy", "load"])
    .map((row): Row => {
      const whole = numberOf(row, "requests") >= WHOLE_REQUESTS_MIN;
      return {
        ...row,
        of_bound: whole ? ofBound(row) : NaN,
        ttft_p99_ms: whole ? numberOf(row, "ttft_p99_ms") : NaN,
        refused_share: numberOf(row, "refused") / numberOf(row, "requests"),
      };
    })
    .sort((a, b) =>
      numberOf(a, "load") - numberOf(b, "load") ||
      POLICIES.indexOf(a.policy as Policy) - POLICIES.indexOf(b.policy as Policy)
    );
  return { measured, rows };
}

function report(all: readonly Row[]): Report {
  const capacities = all.map((row) => numberOf(row, "capacity_per_s")).filter(Number.isFinite);
  const { measured, rows } = summary(all);
  const byPolicy = [...rows].sort((a, b) =>
    POLICIES.indexOf(a.policy as Policy) - POLICIES.indexOf(b.policy as Policy)
  );
  const tail = tailOf(measured);
  const x = { field: "load", title: `offered load, multiples of ${BASELINE}'s capacity`, log: true };
  const series = { field: "policy", title: "policy" };
  const text = [
    `Open loop, Poisson arrivals, one seed, \`${rows[0]?.workload}\`, compression \`${
      rows[0]?.compress
    }\`, medians of so ` +
    `many cells of so many requests as the last columns say. ${STARTS_TEXT} ${BASELINE}'s capacity, the median of the last ` +
    `closed loops of ${CLIENTS} clients: ${percentile(capacities, 0.5).toFixed(1)} requests/s, ` +
    `${Math.min(...capacities).toFixed(1)} to ${Math.max(...capacities).toFixed(1)}.`,
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
      number("TTFT p99 ms", "ttft_p99_ms", 0),
      number("paper's TTFT p50 ms", "ttft_paper_p50_ms", 0),
      number("TPOT p50 ms", "tpot_p50_ms"),
      number("ITL p99 ms", "itl_p99_ms"),
      number("normalised p50 ms/token", "normalised_p50_ms"),
      percent("right", "right"),
      number("own lateness p99 ms", "lateness_p99_ms"),
      plain("requests of a cell", "requests"),
      plain("cells", "rounds"),
    ]),
    "",
    RATIOS_TEXT,
    "",
    ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
    "",
    ...promiseLines(rows),
    "",
    "TTFT is request due to first non-empty text at the client; the paper's is prefill's end minus arrival at the " +
    "server. The bound is the smaller of the offered rate and the answered requests by the seconds in which the device was busy; cells of " +
    `fewer than ${WHOLE_REQUESTS_MIN} requests tell neither a share of it nor a 99th percentile.`,
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
