/** What each part is worth alone: policy × compression × layout of the pool × prefix cache, under one load. */
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { type Ratio, ratioOf } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { barPlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { layoutFlags, layoutsOf } from "./layouts.ts";
import { compressFlags, policyFlags } from "./policies.ts";

const REQUESTS = 200;
const REQUESTS_QUICK = 60;
const WARM_UP_REQUESTS = 12;
const CAPACITY_CLIENTS = 16;
const STATIC = "p1c1d8";
/** Twice and five times smaller. */
const COMPRESSIONS = ["none", "keydiff:0.5", "keydiff:0.8"];
/** Of the static batches' capacity without anything: a load that some of the variants can bear and some cannot. */
const LOAD = 1.2;

/** Runs of pages are shared by nobody. */
const VARIANTS = [
  { layout: "paged", prefixCache: "on", title: "Pages, prefix cache" },
  { layout: "paged", prefixCache: "off", title: "Pages, no prefix cache" },
  { layout: "contiguous", prefixCache: "off", title: "One run of pages a request" },
] as const;

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  // Several questions a picture: a prefix cache has something to find.
  const workload = options.workload ?? "gqa-vqa";
  const count = options.requests ?? (options.quick ? REQUESTS_QUICK : REQUESTS);
  const requests = await bench.requests("requests", workload, count);
  const warmUp = await bench.requests("warm-up", workload, WARM_UP_REQUESTS);
  const capacity = await bench.cell("capacity", { workload, policy: STATIC }, async () => {
    const flags = [...policyFlags(STATIC), "--prefix-cache", "off", ...options.serverFlags];
    await using served = await startOwn(STATIC, flags);
    const pace = { kind: "closed", clients: CAPACITY_CLIENTS } as const;
    return await bench.load("capacity", served, requests, warmUp, pace);
  });
  if (capacity === null) return;
  const rate = numberOf(capacity, "requests_per_s") * (options.rates?.[0] ?? LOAD);
  const timesMs = arrivalTimesMs(poisson(rate), bench.draws("arrivals"), count);
  const layouts = await layoutsOf(bench.say);
  for (const compress of COMPRESSIONS) {
    for (const layout of layouts) {
      for (const { prefixCache } of VARIANTS.filter((variant) => variant.layout === layout)) {
        for (const policy of ["dynamic", STATIC] as const) {
          const columns = { workload, policy, compress, layout, prefix_cache: prefixCache, rate_per_s: rate };
          const name = `${policy}/${compress}/${layout}/prefix cache ${prefixCache}`;
          await bench.cell(name, columns, async () => {
            const flags = [
              ...policyFlags(policy),
              ...compressFlags(compress),
              ...layoutFlags(layout),
              ...["--prefix-cache", prefixCache],
            ];
            await using served = await startOwn(name, [...flags, ...options.serverFlags]);
            return await bench.load(name, served, requests, warmUp, { kind: "open", timesMs });
          });
        }
      }
    }
  }
}

function report(all: readonly Row[]): Report {
  const rows = all.filter((row) => row.compress !== undefined && row.compress !== "")
    .filter((row) => !String(row.cell).endsWith("(stopped)"))
    .map((row): Row => ({
      ...row,
      variant: `${row.layout}, prefix cache ${row.prefix_cache}`,
    }));
  return {
    text: [
      `Open loop, ${numberOf(rows[0] ?? {}, "rate_per_s").toFixed(1)} requests/s of \`${
        rows[0]?.workload
      }\`, ` +
      `${rows[0]?.requests} requests, one seed.`,
      "",
      markdownTable(rows, [
        plain("policy", "policy"),
        plain("compression", "compress"),
        plain("pool", "layout"),
        plain("prefix cache", "prefix_cache"),
        number("requests/s", "requests_per_s"),
        number("goodput/s", "goodput_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        number("TTFT p99 ms", "ttft_p99_ms", 0),
        number("TPOT p50 ms", "tpot_p50_ms"),
        plain("refused", "refused"),
        plain("errors", "errors"),
        percent("right", "right"),
      ]),
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
  return all.filter(({ policy, layout }) => policy === "dynamic" && layout !== undefined).flatMap((ours) => {
    const { compress, layout, prefix_cache: cache } = ours;
    const theirs = all.find((row) =>
      row.policy === STATIC && row.compress === compress && row.layout === layout &&
      row.prefix_cache === cache
    );
    const against = `dynamic against ${STATIC}, ${compress}, ${layout}, prefix cache ${cache}`;
    return ratioOf(`answered/s, ${against}`, ours, theirs, "requests_per_s");
  });
}

export const ablation: Experiment = {
  name: "ablation",
  summary: "policy × compression × layout of the pool × prefix cache",
  run,
  report,
  ratios,
};
