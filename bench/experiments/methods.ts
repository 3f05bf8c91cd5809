/**
 * Compression methods at one ratio, each twice: inline and one request at a time, as servers do that compress inside prefill
 * (fcfs), and as a batched stage (dynamic). What the stage gains, apart from what the ratio gains. Closed loops: that many
 * clients are the same load whatever pace the machine has, and what is compared are capacities.
 */
import { pairedRatio, type Ratio, RATIOS_TEXT, ratioText } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { medians } from "../report/medians.ts";
import { barPlot } from "../report/plots.ts";
import type { Row } from "../report/table.ts";
import { markNotes, ttftTail } from "../report/tail.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { compressFlags, policyFlags } from "./policies.ts";
import { CLIENTS, closedRounds, roundsText, type Side, startsText, steadinessText } from "./rounds.ts";

const RATIO = 0.8;
const STAGES = [["inline", "fcfs"], ["batched", "dynamic"]] as const;
const FULL = { requests: 200, rounds: 3 };
const QUICK = { requests: 60, rounds: 8 };

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const size = options.quick ? QUICK : FULL;
  const workload = options.workload ?? "gqa-caption";
  const groups = ["none", ...options.methods].map((method) => {
    const compress = method === "none" ? method : `${method}:${RATIO}`;
    return STAGES.map(([stage, policy]): Side => ({
      name: `${method}/${stage}`,
      flags: [...policyFlags(policy), ...compressFlags(compress)],
      columns: { method, stage, compress },
    }));
  });
  await closedRounds(bench, groups, workload, size);
}

function report(all: readonly Row[]): Report {
  const rows = medians(all, ["method", "stage"]);
  return {
    text: [
      `Closed loop, ${CLIENTS} clients, ${rows[0]?.requests} requests of \`${
        rows[0]?.workload
      }\` a round, medians of ` +
      `${roundsText(rows)}; every method removes ${RATIO} of the prompt's cache. ` +
      `${
        startsText(all)
      } A method's two rows were measured in turn, rows of different methods minutes apart.`,
      "",
      steadinessText(all),
      "",
      markdownTable(rows, [
        plain("method", "method"),
        plain("compress stage", "stage"),
        number("requests/s", "requests_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        ttftTail("TTFT p99 ms"),
        number("TPOT p50 ms", "tpot_p50_ms"),
        number("compress waiting ms", "compress_wait_ms"),
        number("compress working ms", "compress_run_ms"),
        number("members of a compress step", "compress_items_mean"),
        percent("right", "right"),
      ]),
      ...markNotes(rows),
      "",
      RATIOS_TEXT,
      "",
      ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
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
  return [...new Set(all.map(({ method }) => method))].flatMap((method) => {
    const of = (stage: string) => all.filter((row) => row.method === method && row.stage === stage);
    const name = `answered/s, ${method} batched against inline`;
    return pairedRatio(name, of("batched"), of("inline"), "requests_per_s");
  });
}

export const methods: Experiment = {
  name: "methods",
  summary: "compression methods at one ratio, each inline and as a batched stage",
  run,
  report,
  ratios,
};
