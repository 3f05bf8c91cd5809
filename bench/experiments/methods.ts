/**
 * Compression methods at one ratio, each twice: inline and one request at a time, as servers do that compress inside prefill
 * (fcfs), and as a batched stage (dynamic). What the stage gains, apart from what the ratio gains.
 */
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { type Ratio, ratioOf } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { barPlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { compressFlags, policyFlags } from "./policies.ts";

const RATIO = 0.8;
const STAGES = [["inline", "fcfs"], ["batched", "dynamic"]] as const;
const REQUESTS = 200;
const REQUESTS_QUICK = 60;
const WARM_UP_REQUESTS = 12;
const CAPACITY_CLIENTS = 16;
/** Of what the server does without compression, inline. */
const LOAD = 1.2;

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const workload = options.workload ?? "gqa-caption";
  const count = options.requests ?? (options.quick ? REQUESTS_QUICK : REQUESTS);
  const requests = await bench.requests("requests", workload, count);
  const warmUp = await bench.requests("warm-up", workload, WARM_UP_REQUESTS);
  const flags = (policy: "fcfs" | "dynamic", compress: string) => [
    ...policyFlags(policy),
    ...compressFlags(compress),
    ...options.serverFlags,
  ];
  const capacity = await bench.cell("capacity", { workload }, async () => {
    await using served = await startOwn("fcfs", flags("fcfs", "none"));
    const pace = { kind: "closed", clients: CAPACITY_CLIENTS } as const;
    return await bench.load("capacity", served, requests, warmUp, pace);
  });
  if (capacity === null) return;
  const rate = numberOf(capacity, "requests_per_s") * (options.rates?.[0] ?? LOAD);
  const timesMs = arrivalTimesMs(poisson(rate), bench.draws("arrivals"), count);
  for (const method of ["none", ...options.methods]) {
    const compress = method === "none" ? method : `${method}:${RATIO}`;
    for (const [stage, policy] of STAGES) {
      await bench.cell(
        `${method}/${stage}`,
        { workload, method, stage, compress, rate_per_s: rate },
        async () => {
          await using served = await startOwn(method, flags(policy, compress));
          return await bench.load(`${method} ${stage}`, served, requests, warmUp, { kind: "open", timesMs });
        },
      );
    }
  }
}

function report(all: readonly Row[]): Report {
  const rows = all.filter((row) => typeof row.method === "string" && row.method !== "")
    .filter((row) => !String(row.cell).endsWith("(stopped)"));
  return {
    text: [
      `Open loop, ${numberOf(rows[0] ?? {}, "rate_per_s").toFixed(1)} requests/s of \`${
        rows[0]?.workload
      }\`, ` +
      `${rows[0]?.requests} requests; every method removes ${RATIO} of the prompt's cache.`,
      "",
      markdownTable(rows, [
        plain("method", "method"),
        plain("compress stage", "stage"),
        number("requests/s", "requests_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        number("TTFT p99 ms", "ttft_p99_ms", 0),
        number("TPOT p50 ms", "tpot_p50_ms"),
        number("compress waiting ms", "compress_wait_ms"),
        number("compress working ms", "compress_run_ms"),
        number("members of a compress step", "compress_items_mean"),
        percent("right", "right"),
      ]),
      ...doubts(rows),
    ].join("\n"),
    plots: [{
      name: "methods",
      spec: barPlot({
        name: "methods",
        title: "Compression methods at one ratio",
        rows,
        group: { field: "method", title: "method" },
        y: [
          { field: "requests_per_s", title: "answered requests/s" },
          { field: "ttft_p50_ms", title: "TTFT p50, ms" },
        ],
        series: { field: "stage", title: "compress stage" },
      }),
    }],
  };
}

function ratios(all: readonly Row[]): Ratio[] {
  return all.filter(({ stage }) => stage === "batched").flatMap((ours) => {
    const theirs = all.find((row) => row.method === ours.method && row.stage === "inline");
    return ratioOf(`answered/s, ${ours.method} batched against inline`, ours, theirs, "requests_per_s");
  });
}

export const methods: Experiment = {
  name: "methods",
  summary: "compression methods at one ratio, each inline and as a batched stage",
  run,
  report,
  ratios,
};
