/**
 * Scheduling policies side by side: dynamic windows, first come first served, and static batches pXcYdZ, each under the same
 * open load at several times the rate that p1c1d8 can do. That rate is measured again before each load, and the policies
 * follow in turn: a machine that changes its pace is the same for all that is compared.
 */
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { pairedRatio, type Ratio, ratioText } from "../report/agreement.ts";
import { medians } from "../report/medians.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { percentile } from "../percentile.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { CLIENTS, runRound, type Side, steadinessText, WarmServers } from "./rounds.ts";

export const POLICIES = ["dynamic", "fcfs", "p1c1d8", "p2c2d8", "p3c3d6", "p4c4d8"] as const;
type Policy = typeof POLICIES[number];
export const BASELINE = "p1c1d8" satisfies Policy;

const FULL = { requests: 200, rounds: 3, rates: [0.25, 0.5, 0.8, 1, 2, 4], othersRounds: 3 };
const QUICK = { requests: 60, rounds: 5, rates: [0.5, 0.8, 1, 2, 4], othersRounds: 1 };
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
  const count = options.requests ?? size.requests;
  const rounds = options.rounds ?? size.rounds;
  const workload = options.workload ?? "gqa-caption";
  const compress = options.compress ?? COMPRESS_DEFAULT;
  const sides = POLICIES.map((policy): Side => ({
    name: policy,
    flags: [...policyFlags(policy), ...compressFlags(compress), "--max-waiting", String(WAITING_MAX)],
    columns: { compress, policy },
  }));
  const baseline = sides[POLICIES.indexOf(BASELINE)];
  await using servers = new WarmServers(bench, workload);
  for (let round = 1; round <= rounds; round++) {
    for (const rate of options.rates ?? size.rates) {
      const present = sides.filter((_, i) => round <= size.othersRounds || COMPARED.includes(POLICIES[i]));
      const atRate = present.map((side) => ({ ...side, columns: { ...side.columns, load: rate } }));
      await runRound(bench, servers, atRate, {
        ...{ name: `${rate}x/`, round, workload, count, capacityOf: baseline },
        // The same gaps at every rate, only shorter.
        loop: (capacity) => ({
          kind: "open",
          timesMs: arrivalTimesMs(poisson(rate * capacity), bench.draws(`arrivals ${round}`), count),
        }),
      });
    }
  }
}

/** How near a row comes to what its load and its own stage times allow. */
function ofBound(row: Row): number {
  return numberOf(row, "requests_per_s") /
    Math.min(numberOf(row, "bound_per_s"), numberOf(row, "offered_per_s"));
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
      ...ratio("TTFT p99", "ttft_p99_ms"),
    ];
  });
}

/** How near dynamic came to the bound, and what it did far above what the static batches can do. */
function promiseLines(rows: readonly Row[]): string[] {
  const own = rows.filter(({ policy }) => policy === "dynamic");
  const shares = own.map((row) => `${(100 * numberOf(row, "of_bound")).toFixed(1)} % at ${row.load}x`);
  const kept = own.every((row) => numberOf(row, "of_bound") >= BOUND_SHARE_MIN);
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
  const measured = all.filter((row) =>
    typeof row.load === "number" && !String(row.cell).endsWith("(stopped)")
  );
  const rows = medians(measured, ["policy", "load"])
    .map((row): Row => ({
      ...row,
      of_bound: ofBound(row),
      refused_share: numberOf(row, "refused") / numberOf(row, "requests"),
    }))
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
  const x = { field: "load", title: `offered load, multiples of ${BASELINE}'s capacity`, log: true };
  const series = { field: "policy", title: "policy" };
  const text = [
    `Open loop, Poisson arrivals, one seed, ${rows[0]?.requests ?? 0} requests of \`${
      rows[0]?.workload
    }\` a cell, ` +
    `medians of ${
      rows[0]?.rounds ?? 0
    } rounds (${BASELINE} and dynamic; the last column has the others'), compression ` +
    `\`${
      rows[0]?.compress
    }\`. ${BASELINE}'s capacity (closed loop, ${CLIENTS} clients), measured before each load: ` +
    `${percentile(capacities, 0.5).toFixed(1)} requests/s, ${Math.min(...capacities).toFixed(1)} to ` +
    `${Math.max(...capacities).toFixed(1)}.`,
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
      number("TTFT p99 ms", "ttft_p99_ms", 0),
      number("paper's TTFT p50 ms", "ttft_paper_p50_ms", 0),
      number("TPOT p50 ms", "tpot_p50_ms"),
      number("ITL p99 ms", "itl_p99_ms"),
      number("normalised p50 ms/token", "normalised_p50_ms"),
      percent("right", "right"),
      number("own lateness p99 ms", "lateness_p99_ms"),
      plain("rounds", "rounds"),
    ]),
    "",
    `dynamic against ${BASELINE}, each round by itself, the median and in parentheses the least and the most:`,
    "",
    ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
    "",
    ...promiseLines(rows),
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
            { field: "ttft_p99_ms", title: "TTFT p99, ms", log: true },
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
