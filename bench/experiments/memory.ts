/**
 * Memory of the KV pool over time, by layout and compression, under one load: bytes in use (mean and peak), fragmentation,
 * and the byte-seconds of raw caches that outlived their compressed copies.
 */
import { systemClock } from "../../lib/core/clock.ts";
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { type Samples, scrape, sumOf } from "../load/exposition.ts";
import { GaugeWatch, type Reading, timeMean } from "../load/watch.ts";
import { markdownTable, number, plain } from "../report/markdown.ts";
import { linePlot } from "../report/plots.ts";
import type { Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { layoutFlags, layoutsOf } from "./layouts.ts";
import { COMPRESS_DEFAULT, compressFlags } from "./policies.ts";

const REQUESTS = 200;
const REQUESTS_QUICK = 80;
const WARM_UP_REQUESTS = 12;
/** Requests a second: below what any layout can do, so that all hold the same load. */
const RATE = 10;
const SCRAPE_MS = 100;
/** Points of the plot a run; the means use every reading. */
const CURVE_POINTS = 60;
const MIB = 1024 ** 2;

const used = (samples: Samples) => sumOf(samples, "fastcache_kv_used_bytes");
const zombie = (samples: Samples) => sumOf(samples, "fastcache_kv_zombie_byte_seconds_total");

function memoryColumns(readings: readonly Reading[]): Row {
  const mean = (name: string) => timeMean(readings, (samples) => sumOf(samples, name));
  const [first, last] = [readings[0], readings.at(-1)];
  const step = Math.max(1, Math.floor(readings.length / CURVE_POINTS));
  return {
    kv_mean_mib: mean("fastcache_kv_used_bytes") / MIB,
    kv_peak_mib: Math.max(...readings.map(({ samples }) => used(samples))) / MIB,
    internal_fragmentation_mean: mean("fastcache_kv_internal_fragmentation"),
    external_fragmentation_mean: mean("fastcache_kv_external_fragmentation"),
    zombie_mib_s: first === undefined || last === undefined
      ? NaN
      : (zombie(last.samples) - zombie(first.samples)) / MIB,
    // The curve, so that a page can be drawn again from the table alone.
    curve_s_mib: readings.filter((_, i) => i % step === 0).map(({ atMs, samples }) =>
      `${(atMs / 1000).toFixed(2)}:${(used(samples) / MIB).toFixed(3)}`
    ).join(" "),
  };
}

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const workload = options.workload ?? "gqa-caption";
  const count = options.requests ?? (options.quick ? REQUESTS_QUICK : REQUESTS);
  const rate = options.rates?.[0] ?? RATE;
  const requests = await bench.requests("requests", workload, count);
  const warmUp = await bench.requests("warm-up", workload, WARM_UP_REQUESTS);
  const timesMs = arrivalTimesMs(poisson(rate), bench.draws("arrivals"), count);
  for (const layout of await layoutsOf(bench.say)) {
    for (const compress of ["none", options.compress ?? COMPRESS_DEFAULT]) {
      const columns = { workload, layout, compress, rate_per_s: rate, variant: `${layout}, ${compress}` };
      await bench.cell(`${layout}/${compress}`, columns, async () => {
        // Without a prefix cache: what it keeps is memory in use too, but of no request.
        const flags = [...layoutFlags(layout), ...compressFlags(compress), "--prefix-cache", "off"];
        await using served = await startOwn(layout, [...flags, ...options.serverFlags]);
        const watch = new GaugeWatch(served.client.target.url, SCRAPE_MS, systemClock);
        const figures = await bench.load(`${layout} ${compress}`, served, requests, warmUp, {
          kind: "open",
          timesMs,
        });
        await watch[Symbol.asyncDispose]();
        const end = await scrape(served.client.target.url);
        return {
          ...figures,
          ...memoryColumns(watch.readings),
          peak_by_server_mib: end === null ? NaN : sumOf(end, "fastcache_kv_peak_used_bytes") / MIB,
        };
      });
    }
  }
}

function report(all: readonly Row[]): Report {
  const rows = all.filter((row) => !String(row.cell).endsWith("(stopped)"));
  const curve = rows.flatMap((row) =>
    String(row.curve_s_mib).split(" ").map((point) => {
      const [seconds, mib] = point.split(":").map(Number);
      return { variant: row.variant, seconds, mib };
    })
  );
  return {
    text: [
      `Open loop, ${rows[0]?.rate_per_s} requests/s of \`${rows[0]?.workload}\`, ${
        rows[0]?.requests
      } requests, no prefix ` +
      `cache; bytes of the pages that sequences hold, read every ${SCRAPE_MS} ms.`,
      "",
      markdownTable(rows, [
        plain("layout", "layout"),
        plain("compression", "compress"),
        number("KV mean MiB", "kv_mean_mib", 2),
        number("KV peak MiB", "kv_peak_mib", 2),
        number("internal fragmentation", "internal_fragmentation_mean", 3),
        number("external fragmentation", "external_fragmentation_mean", 3),
        number("zombie MiB·s", "zombie_mib_s", 3),
        number("requests/s", "requests_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
      ]),
      "",
      "The paper's averages on LLaVA-1.5-7B: 35.1 GB without its pool and 28.1 GB with it.",
      ...doubts(rows),
    ].join("\n"),
    plots: [{
      name: "memory",
      spec: linePlot({
        name: "memory",
        title: "KV bytes in use over a run",
        rows: curve as readonly Row[],
        x: { field: "seconds", title: "time, s" },
        y: [{ field: "mib", title: "KV in use, MiB" }],
        series: { field: "variant", title: "layout, compression" },
        points: false,
      }),
    }],
  };
}

export const memory: Experiment = {
  name: "memory",
  summary: "bytes of the KV pool over time by layout and compression",
  run,
  report,
};
