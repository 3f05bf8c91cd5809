/** Right answers by compression method and ratio, under a load that batches: one closed loop a method, ratio and workload. */
import { markdownTable, percent, plain } from "../report/markdown.ts";
import { barPlot } from "../report/plots.ts";
import type { Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import type { Bench, Experiment, Report } from "./experiment.ts";
import { compressFlags } from "./policies.ts";

/** Twice and five times smaller; every method takes both. */
const RATIOS = [0.5, 0.8];
const WORKLOADS = ["gqa-vqa", "gqa-caption"] as const;
const REQUESTS = 400;
const REQUESTS_QUICK = 100;
const WARM_UP_REQUESTS = 4;
const CLIENTS = 16;

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const count = options.requests ?? (options.quick ? REQUESTS_QUICK : REQUESTS);
  const variants = options.methods.flatMap((method) => RATIOS.map((ratio) => ({ method, ratio })));
  for (const workload of options.workload === null ? WORKLOADS : [options.workload]) {
    const requests = await bench.requests(`requests ${workload}`, workload, count);
    const warmUp = await bench.requests("warm-up", workload, WARM_UP_REQUESTS);
    for (const { method, ratio } of [{ method: "none", ratio: 0 }, ...variants]) {
      const compress = method === "none" ? method : `${method}:${ratio}`;
      await bench.cell(`${workload}/${compress}`, { workload, method, ratio, compress }, async () => {
        await using served = await startOwn(compress, [...compressFlags(compress), ...options.serverFlags]);
        const loop = { kind: "closed", clients: CLIENTS } as const;
        return await bench.load(`${workload} ${compress}`, served, requests, warmUp, loop);
      });
    }
  }
}

function report(rows: readonly Row[]): Report {
  return {
    text: [
      `Closed loop, ${CLIENTS} clients, ${
        rows[0]?.requests
      } requests of each workload, greedy. gqa-vqa: the whole answer ` +
      "equals the right one; gqa-caption: the share of objects that are said at their place.",
      "",
      markdownTable(rows, [
        plain("workload", "workload"),
        plain("compression", "compress"),
        percent("right", "right"),
        plain("judged", "scored"),
      ]),
    ].join("\n"),
    plots: [{
      name: "quality",
      spec: barPlot({
        name: "quality",
        title: "Right answers by compression",
        rows,
        group: { field: "compress", title: "compression" },
        y: [{ field: "right", title: "right", share: true }],
        series: { field: "workload", title: "workload" },
      }),
    }],
  };
}

export const quality: Experiment = {
  name: "quality",
  summary: "right answers by compression method and ratio, under load",
  run,
  report,
};
