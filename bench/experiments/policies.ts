/**
 * Scheduling policies side by side: dynamic windows, first come first served, and static batches pXcYdZ, each under the same
 * open load at several times the rate that p1c1d8 can do. One server a cell, the policies in turn at each rate, so that the
 * machine's drift hits all of them.
 */
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { type Ratio, ratioOf } from "../report/agreement.ts";
import { medians } from "../report/medians.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";

export const POLICIES = ["dynamic", "fcfs", "p1c1d8", "p2c2d8", "p3c3d6", "p4c4d8"] as const;
type Policy = typeof POLICIES[number];
export const BASELINE = "p1c1d8" satisfies Policy;

const FULL = { requests: 200, rounds: 1, rates: [0.25, 0.5, 0.8, 1, 2, 4] };
const QUICK = { requests: 60, rounds: 1, rates: [0.25, 1, 2, 4] };
const WARM_UP_REQUESTS = 12;
/** Clients of the closed loop that finds the capacity: twice the largest static decode batch. */
const CAPACITY_CLIENTS = 16;
const CAPACITY_REQUESTS = 100;
const CAPACITY_REQUESTS_QUICK = 60;

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
  const workload = options.workload ?? "gqa-caption";
  const warmUp = await bench.requests("warm-up", workload, WARM_UP_REQUESTS);
  const compress = options.compress ?? COMPRESS_DEFAULT;
  const serverFlags = (policy: Policy) => [
    ...policyFlags(policy),
    ...compressFlags(compress),
    ...["--max-waiting", String(WAITING_MAX)],
    ...options.serverFlags,
  ];
  const columns = { workload, compress };

  const capacityCount = options.quick ? CAPACITY_REQUESTS_QUICK : CAPACITY_REQUESTS;
  const capacity = await bench.cell(`capacity/${BASELINE}`, { ...columns, policy: BASELINE }, async () => {
    const requests = await bench.requests("capacity", workload, capacityCount);
    await using served = await startOwn(BASELINE, serverFlags(BASELINE));
    const pace = { kind: "closed", clients: CAPACITY_CLIENTS } as const;
    return { ...await bench.load("capacity", served, requests, warmUp, pace), load: "" };
  });
  if (capacity === null) return;
  const capacityPerSecond = numberOf(capacity, "requests_per_s");

  const requests = await bench.requests("requests", workload, count);
  const loads = (options.rates ?? size.rates).map((rate) => ({
    rate,
    // The same gaps at every rate, only shorter.
    timesMs: arrivalTimesMs(poisson(rate * capacityPerSecond), bench.draws("arrivals"), count),
  }));
  for (let round = 1; round <= (options.rounds ?? size.rounds); round++) {
    for (const [turn, { rate, timesMs }] of loads.entries()) {
      for (let i = 0; i < POLICIES.length; i++) {
        // Another one begins at each rate and in each round.
        const policy = POLICIES[(turn + round + i) % POLICIES.length];
        const own = { ...columns, policy, load: rate, round, rate_per_s: rate * capacityPerSecond };
        await bench.cell(`${policy}/${rate}x/round ${round}`, own, async () => {
          await using served = await startOwn(policy, serverFlags(policy));
          return await bench.load(`${policy} ${rate}x`, served, requests, warmUp, { kind: "open", timesMs });
        });
      }
    }
  }
}

/** How near a row comes to what its load and its own stage times allow. */
function ofBound(row: Row): number {
  return numberOf(row, "requests_per_s") /
    Math.min(numberOf(row, "bound_per_s"), numberOf(row, "offered_per_s"));
}

function ratioLines(rows: readonly Row[]): string[] {
  const loads = [...new Set(rows.map((row) => numberOf(row, "load")))].sort((a, b) => a - b);
  return loads.flatMap((load) => {
    const at = (policy: Policy) =>
      rows.find((row) => row.policy === policy && numberOf(row, "load") === load);
    const [ours, theirs] = [at("dynamic"), at(BASELINE)];
    if (ours === undefined || theirs === undefined) return [];
    const ratio = (name: string, inverse: boolean) => {
      const value = numberOf(ours, name) / numberOf(theirs, name);
      return (inverse ? 1 / value : value).toFixed(2);
    };
    return [
      `- at ${load}x: TTFT p50 ${ratio("ttft_p50_ms", true)}x lower, p99 ${
        ratio("ttft_p99_ms", true)
      }x lower, ` +
      `throughput ${ratio("requests_per_s", false)}x, TTFT as the paper defines it (p50) ${
        ratio("ttft_paper_p50_ms", true)
      }x lower`,
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

function ratios(all: readonly Row[]): Ratio[] {
  const { rows } = summary(all);
  return rows.filter(({ policy }) => policy === "dynamic").flatMap((ours) => {
    const theirs = rows.find((row) => row.policy === BASELINE && row.load === ours.load);
    const against = `dynamic against ${BASELINE} at ${ours.load}x`;
    return [
      ...ratioOf(`answered/s, ${against}`, ours, theirs, "requests_per_s"),
      ...ratioOf(`goodput/s, ${against}`, ours, theirs, "goodput_per_s"),
      ...ratioOf(`TTFT p50, ${against}`, ours, theirs, "ttft_p50_ms"),
      ...ratioOf(`TTFT p99, ${against}`, ours, theirs, "ttft_p99_ms"),
    ];
  });
}

function report(all: readonly Row[]): Report {
  const capacity = all.find((row) => row.cell === `capacity/${BASELINE}`);
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
    `medians of ${rows[0]?.rounds ?? 0} rounds, compression \`${
      rows[0]?.compress
    }\`. ${BASELINE}'s capacity (closed loop, ${CAPACITY_CLIENTS} clients): ` +
    `${numberOf(capacity ?? {}, "requests_per_s").toFixed(1)} requests/s.`,
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
    ]),
    "",
    `dynamic against ${BASELINE}:`,
    "",
    ...ratioLines(rows),
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
