/**
 * Memory of the KV pool over time, by layout and compression, under one load: bytes in use (mean and peak), fragmentation,
 * and the byte-seconds of raw caches that outlived their compressed copies. Closed loops, so that always as many requests
 * hold memory: of requests that come at a rate more are there at once the slower a machine is, and bytes tell of its pace.
 */
import { systemClock } from "../../lib/core/clock.ts";
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
import type { LoadRequest } from "../load/request.ts";
import type { Loop } from "../load/run.ts";
import { GaugeWatch, type Reading, timeMean } from "../load/watch.ts";
import { pairedRatio, type Ratio, RATIOS_TEXT, ratioText } from "../report/agreement.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { medians } from "../report/medians.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import type { Served } from "../servers.ts";
import { type Bench, doubts, type Experiment, type Report } from "./experiment.ts";
import { layoutFlags, layoutsOf } from "./layouts.ts";
import { COMPRESS_DEFAULT, compressFlags } from "./policies.ts";
import { CLIENTS, closedLoop, runRound, type Side, steadinessText, WarmServers } from "./rounds.ts";

const FULL = { requests: 400, rounds: 5 };
const QUICK = { requests: 200, rounds: 3 };
const SCRAPE_MS = 25;
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

/** The load on one server, the pool watched meanwhile. */
async function measured(
  bench: Bench,
  layout: string,
  { label, served, requests, loop }: {
    readonly label: string;
    readonly served: Served;
    readonly requests: readonly LoadRequest[];
    readonly loop: Loop;
  },
): Promise<Row> {
  const { connectionsMax, timeoutMs, targets } = bench.options;
  const limits = { connectionsMax, timeoutMs, targets, stop: bench.stop, warmUp: [] };
  const watch = new GaugeWatch(served.client.target.url, SCRAPE_MS, systemClock);
  const { figures, counted, run } = await measure(served, requests, { ...limits, label, loop });
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
    // Since the server's start.
    peak_by_server_mib: end === null ? NaN : sumOf(end, "fastcache_kv_peak_used_bytes") / MIB,
  };
}

async function run(bench: Bench): Promise<void> {
  const { options } = bench;
  const size = options.quick ? QUICK : FULL;
  const workload = options.workload ?? "gqa-caption";
  const count = options.requests ?? size.requests;
  const sides = (await layoutsOf(bench.say)).flatMap((layout) =>
    ["none", options.compress ?? COMPRESS_DEFAULT].map((compress): Side => ({
      name: `${layout}/${compress}`,
      // Without a prefix cache: what it keeps is memory in use too, but of no request.
      flags: [...layoutFlags(layout), ...compressFlags(compress), "--prefix-cache", "off"],
      columns: { layout, compress, variant: `${layout}, ${compress}` },
    }))
  );
  await using servers = new WarmServers(bench, workload);
  for (let round = 1; round <= (options.rounds ?? size.rounds); round++) {
    await runRound(bench, servers, sides, {
      ...{ name: "", round, workload, count },
      given: closedLoop,
      measured: async (side, label, served, requests, loop) =>
        await measured(bench, String(side.columns.layout), { label, served, requests, loop }),
    });
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
      } %; a prompt's bytes in the pool ${numberOf(row, "kv_before_kib").toFixed(1)} KiB, its copy's ${
        numberOf(row, "kv_after_kib").toFixed(1)
      } KiB${row.layout === "paged" ? "" : " beside it in the request's run"}, whole pages`,
    ];
  });
}

function report(all: readonly Row[]): Report {
  const rows = medians(
    all.map((row): Row => ({
      ...row,
      formula_off: numberOf(row, "formula_mib") / numberOf(row, "kv_mean_mib") - 1,
    })),
    ["variant"],
  );
  // The first round's.
  const curve = rows.flatMap((row) =>
    String(row.curve).split(" ").map((point) => {
      const [seconds, mib, internal, external, zombie] = point.split(":").map(Number);
      return { variant: row.variant, seconds, mib, internal, external, zombie };
    })
  );
  return {
    text: [
      `Closed loop, ${CLIENTS} clients, ${rows[0]?.requests} requests of \`${
        rows[0]?.workload
      }\` a round, medians of ${rows[0]?.rounds} rounds, no prefix cache; bytes of the ` +
      `pages that sequences hold, read every ${SCRAPE_MS} ms.`,
      "",
      steadinessText(all),
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
      RATIOS_TEXT,
      "",
      ...ratios(all).map((ratio) => `- ${ratio.name}: ${ratioText(ratio)}`),
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
  const of = (name: string) => all.filter(({ variant }) => variant === name);
  const [whole, ...others] = [...new Set(all.map(({ variant }) => String(variant)))];
  return others.flatMap((variant) =>
    pairedRatio(`mean KV bytes, ${variant} against ${whole}`, of(variant), of(whole), "kv_mean_mib")
  );
}

export const memory: Experiment = {
  name: "memory",
  summary: "bytes of the KV pool over time by layout and compression",
  run,
  report,
  ratios,
};
