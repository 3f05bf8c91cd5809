/**
 * What each part is worth alone: policy × compression × layout of the pool × prefix cache, in closed loops, as in methods.ts.
 */
import { pairedRatio, type Ratio, RATIOS_TEXT, ratioText } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { medians } from "../report/medians.ts";
import { barPlot } from "../report/plots.ts";
import type { Row } from "../report/table.ts";
import { markNotes, ttftTail } from "../report/tail.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { layoutFlags, layoutsOf } from "./layouts.ts";
import { compressFlags, policyFlags } from "./policies.ts";
import { CLIENTS, closedRounds, roundsText, type Side, startsText, steadinessText } from "./rounds.ts";

const FULL = { requests: 200, rounds: 3 };
const QUICK = { requests: 120, rounds: 16 };
const STATIC = "p1c1d8";
/** Twice and five times smaller. */
const COMPRESSIONS = ["none", "keydiff:0.5", "keydiff:0.8"];

/** Runs of pages are shared by nobody. */
const VARIANTS = [
  { layout: "paged", prefixCache: "on", title: "Pages, prefix cache" },
  { layout: "paged", prefixCache: "off", title: "Pages, no prefix cache" },
  { layout: "contiguous", prefixCache: "off", title: "One run of pages a request" },
] as const;

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const size = options.quick ? QUICK : FULL;
  // Several questions a picture: a prefix cache has something to find.
  const workload = options.workload ?? "gqa-vqa";
  const layouts = await layoutsOf(bench.say);
  const variants = VARIANTS.filter(({ layout }) => layouts.includes(layout));
  const groups = COMPRESSIONS.flatMap((compress) =>
    variants.map(({ layout, prefixCache }) =>
      (["dynamic", STATIC] as const).map((policy): Side => ({
        name: `${policy}/${compress}/${layout}/prefix cache ${prefixCache}`,
        flags: [
          ...policyFlags(policy),
          ...compressFlags(compress),
          ...layoutFlags(layout),
          ...["--prefix-cache", prefixCache],
        ],
        columns: { policy, compress, layout, prefix_cache: prefixCache },
      }))
    )
  );
  await closedRounds(bench, groups, workload, size);
}

function report(all: readonly Row[]): Report {
  const rows = medians(all, ["policy", "compress", "layout", "prefix_cache"]);
  return {
    text: [
      `Closed loop, ${CLIENTS} clients, ${rows[0]?.requests} requests of \`${
        rows[0]?.workload
      }\` a round, medians of ` +
      `${roundsText(rows)}, one seed. ${
        startsText(all)
      } The two policies of a variant were measured in turn, ` +
      "different variants minutes apart.",
      "",
      steadinessText(all),
      "",
      markdownTable(rows, [
        plain("policy", "policy"),
        plain("compression", "compress"),
        plain("pool", "layout"),
        plain("prefix cache", "prefix_cache"),
        number("requests/s", "requests_per_s"),
        number("goodput/s", "goodput_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        ttftTail("TTFT p99 ms"),
        number("TPOT p50 ms", "tpot_p50_ms"),
        plain("refused", "refused"),
        plain("errors", "errors"),
        percent("right", "right"),
      ]),
      ...markNotes(rows),
      "",
      RATIOS_TEXT,
      "",
      ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
      ...doubts(rows),
    ].join("\n"),
    plots: VARIANTS.map(({ layout, prefixCache, title }) => ({
      name: `ablation-${layout}-prefix-cache-${prefixCache}`,
      spec: barPlot({
        name: `ablation-${layout}-prefix-cache-${prefixCache}`,
        title,
        rows: rows.filter((row) => row.prefix_cache === prefixCache && row.layout === layout),
        group: { field: "compress", title: "compression" },
        y: [
          { field: "requests_per_s", title: "answered requests/s" },
          { field: "ttft_p50_ms", title: "TTFT p50, ms" },
        ],
        series: { field: "policy", title: "policy" },
      }),
    })),
  };
}

function ratios(all: readonly Row[]): Ratio[] {
  const columns = ["compress", "layout", "prefix_cache"] as const;
  const variants = Map.groupBy(all, (row) => columns.map((column) => row[column]).join(", "));
  return [...variants].flatMap(([, rows]) => {
    const [{ compress, layout, prefix_cache: cache }] = rows;
    const of = (name: string) => rows.filter(({ policy }) => policy === name);
    const name = `answered/s, dynamic against ${STATIC}, ${compress}, ${layout}, prefix cache ${cache}`;
    return pairedRatio(name, of("dynamic"), of(STATIC), "requests_per_s");
  });
}

export const ablation: Experiment = {
  name: "ablation",
  summary: "policy × compression × layout of the pool × prefix cache",
  run,
  report,
  ratios,
};
