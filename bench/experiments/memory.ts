/**
 * Memory of the KV pool over time, by layout and compression, under one load: bytes in use (mean and peak), fragmentation,
 * and the byte-seconds of raw caches that outlived their compressed copies.
 */
import { systemClock } from "../../lib/core/clock.ts";
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { countedColumns, figureColumns } from "../load/columns.ts";
import { type Samples, scrape, sumOf } from "../load/exposition.ts";
import {
  decodingPromptSlots,
  heldByteMs,
  KV_FORMULA,
  type KvLayout,
  type KvRequest,
} from "../load/kv_formula.ts";
import { measure } from "../load/measure.ts";
import { GaugeWatch, type Reading, timeMean } from "../load/watch.ts";
import { type Ratio, ratioOf } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { layoutFlags, layoutsOf } from "./layouts.ts";
import { COMPRESS_DEFAULT, compressFlags } from "./policies.ts";

const REQUESTS = 200;
const REQUESTS_QUICK = 80;
const WARM_UP_REQUESTS = 12;
/** Requests a second: below what any layout can do, so that all hold the same load. */
const RATE = 10;
const SCRAPE_MS = 50;
const WARM_UP_CLIENTS = 4;
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
    curve: readings.filter((_, i) => i % step === 0).map(({ atMs, samples }) =>
      [
        (atMs / 1000).toFixed(2),
        (used(samples) / MIB).toFixed(3),
        sumOf(samples, "fastcache_kv_internal_fragmentation").toFixed(3),
        sumOf(samples, "fastcache_kv_external_fragmentation").toFixed(3),
        ((zombie(samples) - zombie(readings[0].samples)) / MIB).toFixed(4),
      ].join(":")
    ).join(" "),
  };
}

/** What the pool should have held, by its requests, and what compression made of theirs. */
function formulaColumns(requests: readonly KvRequest[], layout: KvLayout, timeMs: number): Row {
  const mean = (part: "prompts" | "decoding") =>
    requests.reduce((sum, request) => sum + heldByteMs(request, layout)[part], 0) / timeMs / MIB;
  const kib = (part: "bytesBefore" | "bytesAfter") => {
    const values = requests.flatMap(({ answer: { kv } }) => kv === null ? [] : [kv[part] / 1024]);
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  return {
    formula_prompts_mib: mean("prompts"),
    formula_decoding_mib: mean("decoding"),
    formula_mib: mean("prompts") + mean("decoding"),
    decoding_prompt_slots: decodingPromptSlots(requests),
    kv_before_kib: kib("bytesBefore"),
    kv_after_kib: kib("bytesAfter"),
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
        const { connectionsMax, timeoutMs, targets } = options;
        const limits = { connectionsMax, timeoutMs, targets, stop: bench.stop, warmUp: [] };
        const label = `${layout} ${compress}`;
        // Apart from the run: the pool is watched from an idle server on.
        const closed = { kind: "closed", clients: WARM_UP_CLIENTS } as const;
        await measure(served, warmUp, { ...limits, label: `${label}, warm-up`, pace: closed });
        const watch = new GaugeWatch(served.client.target.url, SCRAPE_MS, systemClock);
        const pace = { kind: "open", timesMs } as const;
        const { figures, counted, run } = await measure(served, requests, { ...limits, label, pace });
        await watch[Symbol.asyncDispose]();
        const end = await scrape(served.client.target.url);
        const held = run.sent.flatMap(({ index, reply }): KvRequest[] =>
          reply.kind === "answer" ? [{ answer: reply.answer, maxTokens: requests[index].maxTokens }] : []
        );
        const kvLayout = {
          tokenBytes: end === null ? NaN : sumOf(end, "fastcache_kv_token_bytes"),
          pageSlots: end === null ? NaN : sumOf(end, "fastcache_kv_page_tokens"),
          contiguous: layout === "contiguous",
        };
        const timeMs = (watch.readings.at(-1)?.atMs ?? NaN) - (watch.readings[0]?.atMs ?? NaN);
        return {
          ...figureColumns(figures),
          ...countedColumns(counted, figures),
          ...memoryColumns(watch.readings),
          ...formulaColumns(held, kvLayout, timeMs),
          peak_by_server_mib: end === null ? NaN : sumOf(end, "fastcache_kv_peak_used_bytes") / MIB,
        };
      });
    }
  }
}

/** Stored prompt slots of sequences that decode, compressed by whole. */
function slotLines(rows: readonly Row[]): string[] {
  return rows.filter((row) => row.compress !== "none").flatMap((row) => {
    const whole = rows.find((other) => other.compress === "none" && other.layout === row.layout);
    if (whole === undefined) return [];
    const [kept, all] = [numberOf(row, "decoding_prompt_slots"), numberOf(whole, "decoding_prompt_slots")];
    return [
      `- ${row.layout}, ${row.compress}: ${kept.toFixed(1)} of ${all.toFixed(1)} slots, ${
        (100 * kept / all).toFixed(1)
      } %; a prompt's bytes in the pool ${numberOf(row, "kv_before_kib").toFixed(1)} KiB, then ${
        numberOf(row, "kv_after_kib").toFixed(1)
      } KiB${row.layout === "paged" ? "" : " with its run to the end"}, whole pages, by the pool's own count`,
    ];
  });
}

function report(all: readonly Row[]): Report {
  const rows = all.filter((row) => !String(row.cell).endsWith("(stopped)")).map((row): Row => ({
    ...row,
    formula_off: numberOf(row, "formula_mib") / numberOf(row, "kv_mean_mib") - 1,
  }));
  const curve = rows.flatMap((row) =>
    String(row.curve).split(" ").map((point) => {
      const [seconds, mib, internal, external, zombie] = point.split(":").map(Number);
      return { variant: row.variant, seconds, mib, internal, external, zombie };
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
        number("by the formula MiB", "formula_mib", 2),
        percent("off by", "formula_off"),
        number("KV peak MiB", "kv_peak_mib", 2),
        number("internal fragmentation", "internal_fragmentation_mean", 3),
        number("external fragmentation", "external_fragmentation_mean", 3),
        number("zombie MiB·s", "zombie_mib_s", 3),
        number("requests/s", "requests_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
      ]),
      "",
      "Internal fragmentation: slots of used pages that store nothing. External: free pages outside of the longest free " +
      "block. Zombies: raw caches after their copies were written, bytes times seconds.",
      "",
      `The formula: ${KV_FORMULA}.`,
      "",
      "Prompt slots that a decoding sequence stores, those left over by a division counted, a mean over those that decode at one time, compressed by whole:",
      "",
      ...slotLines(rows),
      "",
      "The paper's averages on LLaVA-1.5-7B: 35.1 GB without its pool and 28.1 GB with it.",
      ...doubts(rows),
    ].join("\n"),
    plots: [{
      name: "memory",
      spec: linePlot({
        name: "memory",
        title: "The KV pool over a run",
        rows: curve as readonly Row[],
        x: { field: "seconds", title: "time, s" },
        y: [
          { field: "mib", title: "KV in use, MiB" },
          { field: "internal", title: "internal fragmentation", share: true },
          { field: "external", title: "external fragmentation", share: true },
          { field: "zombie", title: "zombie MiB·s so far" },
        ],
        series: { field: "variant", title: "layout, compression" },
        points: false,
      }),
    }],
  };
}

function ratios(all: readonly Row[]): Ratio[] {
  const whole = all.find(({ layout, compress }) => layout === "paged" && compress === "none");
  return all.filter((row) => row !== whole).flatMap((row) =>
    ratioOf(`mean KV bytes, ${row.variant} against paged, none`, row, whole, "kv_mean_mib")
  );
}

export const memory: Experiment = {
  name: "memory",
  summary: "bytes of the KV pool over time by layout and compression",
  run,
  report,
  ratios,
};
