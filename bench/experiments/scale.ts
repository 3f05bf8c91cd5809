/**
 * Other machines, in virtual time: the production scheduler and pool over a cost model. First it is checked against this
 * machine: step times are measured under closed loops, and what they predict for open loads is compared with the same loads
 * measured. Then LLaVA-1.5-7B on an H100 and two edge devices at the paper's rates, and many replicas behind a hash.
 */
import { fileURLToPath } from "node:url";
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { figureColumns } from "../load/columns.ts";
import { figuresOf } from "../load/figures.ts";
import type { LoadRequest } from "../load/request.ts";
import { openModel } from "../../lib/model/directory.ts";
import { parsePolicy } from "../../scheduler/policy.ts";
import { markdownTable, number, percent, plain } from "../report/markdown.ts";
import { linePlot } from "../report/plots.ts";
import { numberOf, type Row } from "../report/table.ts";
import { calibrate, compare } from "../scale/calibrate.ts";
import {
  type Device,
  type DeviceName,
  DEVICES,
  kvBytesPerToken,
  rooflineCosts,
  weightBytes,
} from "../scale/costs.ts";
import { simulateReplicas } from "../scale/replicas.ts";
import type { VirtualRequest, World } from "../scale/simulate.ts";
import type { Bench, Experiment, Report } from "./experiment.ts";
import { COMPRESS_DEFAULT, POLICIES, policyFlags } from "./policies.ts";
import { usualCompression } from "../../lib/engine/compress/mod.ts";

const MODEL = fileURLToPath(new URL("../configs/llava-1.5-7b", import.meta.url));
/** The paper's prompt: an instruction padded to 128 tokens beside one picture. */
const TEXT_TOKENS = 128;
/** It generates at most 512; how many on average is not known. */
const COMPLETION_TOKENS = { least: 64, most: 320 };
const RATES = [1, 4, 7, 10, 20, 40];
const RATES_QUICK = [1, 10, 40];
/** Many more than the paper's 90: what a queue does takes time to show. */
const REQUESTS = 1000;
const REQUESTS_QUICK = 200;
/** Sequences that generate at one time, of the policies that set no number of their own. */
const SEQUENCES_MAX = 256;
/** Share of the memory for weights and KV; the rest is for activations. */
const MEMORY_SHARE = 0.9;
const PAGE_SLOTS = 16;
const STEP_TOKENS_MAX = 4096;
const REPLICAS = { count: 16, requests: 10_000, perSecond: 400, picturesShare: 0.2 };
const REPLICAS_QUICK = { ...REPLICAS, count: 4, requests: 1000, perSecond: 100 };

async function world(device: Device, policy: string): Promise<World> {
  const { config } = await openModel(MODEL, "dummy");
  const [method, ratio] = COMPRESS_DEFAULT.split(":");
  // All layers of a token in one page of the simulation: they are always taken and given back together.
  const pageBytes = PAGE_SLOTS * kvBytesPerToken(config);
  const imageTokens = config.vision!.imageTokens;
  return {
    costs: rooflineCosts(device, config),
    facts: {
      ...{
        backend: "virtual",
        adapter: device.name,
        software: false,
        features: [],
        loadMs: {},
        kvDtype: "f16",
      },
      layers: 1,
      shape: config.text,
      vocabSize: config.text.vocab,
      pageBytes,
      pageSlots: PAGE_SLOTS,
      pageCount: Math.floor((device.memoryBytes * MEMORY_SHARE - weightBytes(config)) / pageBytes),
      embeddingRows: imageTokens * SEQUENCES_MAX,
      stepTokensMax: STEP_TOKENS_MAX,
      compressors: [],
    },
    imageTokens,
    maxModelLen: config.text.maxPositions,
    policy: parsePolicy(policy)!,
    compression: {
      ...usualCompression(method as "mean-pool", Number(ratio)),
      underPressure: false,
      minTokens: 0,
    },
    maxNumSeqs: SEQUENCES_MAX,
    // The paper's queues have no end.
    waitingRequestsMax: 1_000_000,
    overheadMs: 0,
  };
}

function virtualRequests(
  bench: Bench,
  count: number,
  perSecond: number,
  pictures: number,
): VirtualRequest[] {
  const draws = bench.draws("virtual requests");
  const timesMs = arrivalTimesMs(poisson(perSecond), bench.draws("virtual arrivals"), count);
  return Array.from(timesMs, (atMs) => ({
    atMs,
    picture: draws.integer(0, pictures - 1),
    textTokens: TEXT_TOKENS,
    completionTokens: draws.integer(COMPLETION_TOKENS.least, COMPLETION_TOKENS.most),
  }));
}

/** Figures of virtual requests need nothing of the real ones but their number. */
function unjudged(count: number): LoadRequest[] {
  return Array.from({ length: count }, () => ({
    group: "virtual",
    messages: [],
    maxTokens: 0,
    fixedLength: true,
    score: null,
  }));
}

async function runDevices(bench: Bench): Promise<void> {
  const { quick, rates } = bench.options;
  const count = bench.options.requests ?? (quick ? REQUESTS_QUICK : REQUESTS);
  for (const name of (quick ? ["h100"] : Object.keys(DEVICES)) as DeviceName[]) {
    for (const rate of rates ?? (quick ? RATES_QUICK : RATES)) {
      for (const policy of POLICIES) {
        const columns = { part: "device", device: DEVICES[name].name, policy, rate_per_s: rate };
        await bench.cell(`${name}/${policy}/${rate} per s`, columns, async () => {
          const requests = virtualRequests(bench, count, rate, 1_000_000);
          const { run, busyMs } = await simulateReplicas(
            await world(DEVICES[name], policyFlags(policy)[1]),
            requests,
            1,
          );
          const row = figureColumns(figuresOf(run, unjudged(count), "open", bench.options.targets));
          return { ...row, device_busy_s: busyMs / 1000 };
        });
      }
    }
  }
}

async function runReplicas(bench: Bench): Promise<void> {
  const size = bench.options.quick ? REPLICAS_QUICK : REPLICAS;
  const columns = {
    part: "replicas",
    device: DEVICES.h100.name,
    policy: "dynamic",
    rate_per_s: size.perSecond,
  };
  for (const replicas of [size.count / 2, size.count]) {
    await bench.cell(`replicas/${replicas}`, { ...columns, replicas }, async () => {
      const pictures = Math.ceil(size.requests * size.picturesShare);
      const requests = virtualRequests(bench, size.requests, size.perSecond, pictures);
      const { run } = await simulateReplicas(await world(DEVICES.h100, "dynamic"), requests, replicas);
      return figureColumns(figuresOf(run, unjudged(size.requests), "open", bench.options.targets));
    });
  }
}

async function run(bench: Bench): Promise<void> {
  await runDevices(bench);
  await calibrate(bench);
  await runReplicas(bench);
}

function ratios(rows: readonly Row[]): string[] {
  const rates = [...new Set(rows.map((row) => numberOf(row, "rate_per_s")))];
  return rates.flatMap((rate) => {
    const of = (policy: string) => rows.find((row) => row.policy === policy && row.rate_per_s === rate);
    const [ours, theirs] = [of("dynamic"), of("p1c1d8")];
    if (ours === undefined || theirs === undefined) return [];
    const ratio = (a: Row, b: Row, name: string) => (numberOf(a, name) / numberOf(b, name)).toFixed(1);
    return [
      `- ${rate} req/s: TTFT p50 ${ratio(theirs, ours, "ttft_p50_ms")}x and p99 ${
        ratio(theirs, ours, "ttft_p99_ms")
      }x lower than p1c1d8, throughput ${ratio(ours, theirs, "requests_per_s")}x, the paper's TTFT (p50) ${
        ratio(theirs, ours, "ttft_paper_p50_ms")
      }x lower`,
    ];
  });
}

function report(all: readonly Row[]): Report {
  const rows = all.filter((row) => !String(row.cell).endsWith("(stopped)"));
  const devices = rows.filter(({ part }) => part === "device").map((row): Row => ({
    ...row,
    normalised_s: numberOf(row, "normalised_p50_ms") / 1000,
  }));
  const h100 = devices.filter(({ device }) => device === DEVICES.h100.name);
  return {
    text: [
      "Virtual time: the production scheduler and pool, LLaVA-1.5-7B in f16, steps by the device's published peaks " +
      "(half of the arithmetic, 0.7 of the bandwidth, 2 ms a step). " +
      `${TEXT_TOKENS} text tokens and one picture of 576 a prompt, ${COMPLETION_TOKENS.least} to ${COMPLETION_TOKENS.most} ` +
      `tokens generated, ${COMPRESS_DEFAULT}, Poisson arrivals, queues without end.`,
      "",
      markdownTable(devices, [
        plain("device", "device"),
        plain("req/s offered", "rate_per_s"),
        plain("policy", "policy"),
        number("req/s answered", "requests_per_s", 2),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        number("TTFT p99 ms", "ttft_p99_ms", 0),
        number("paper's TTFT p50 ms", "ttft_paper_p50_ms", 0),
        number("TPOT p50 ms", "tpot_p50_ms"),
        number("normalised p50 s/token", "normalised_s", 3),
      ]),
      "",
      `${DEVICES.h100.name}:`,
      "",
      ...ratios(h100),
      "",
      "The paper, same model and device: TTFT up to 19.3x lower (10 req/s) and throughput up to 12.1x of p1c1d8; " +
      "normalised latency at 40 req/s 0.17 s (its own), 0.46 s (p3c3d6), 0.33 s (p4c4d8).",
      "",
      "Replicas behind a consistent hash of the picture:",
      "",
      markdownTable(rows.filter(({ part }) => part === "replicas"), [
        plain("replicas", "replicas"),
        plain("requests", "requests"),
        number("req/s offered", "offered_per_s"),
        number("req/s answered", "requests_per_s"),
        number("TTFT p50 ms", "ttft_p50_ms", 0),
        number("TTFT p99 ms", "ttft_p99_ms", 0),
      ]),
      "",
      "The cost model against this machine, in one run: mean step times measured under closed loops, then open loads " +
      "measured and predicted from them:",
      "",
      markdownTable(compare(rows), [
        number("load, of capacity", "load", 2),
        number("measured TTFT mean ms", "measured_ttft_ms"),
        number("predicted", "predicted_ttft_ms"),
        percent("off by", "ttft_off"),
        number("measured end to end mean ms", "measured_end_ms"),
        number("predicted", "predicted_end_ms"),
        percent("off by", "end_off"),
      ]),
    ].join("\n"),
    plots: [{
      name: "scale-h100",
      spec: linePlot({
        name: "scale-h100",
        title: `LLaVA-1.5-7B on ${DEVICES.h100.name}, virtual time`,
        rows: h100,
        x: { field: "rate_per_s", title: "offered requests/s", log: true },
        y: [
          { field: "ttft_p50_ms", title: "TTFT p50, ms", log: true },
          { field: "requests_per_s", title: "answered requests/s" },
        ],
        series: { field: "policy", title: "policy" },
      }),
    }],
  };
}

export const scale: Experiment = {
  name: "scale",
  summary: "other machines in virtual time, and the cost model checked against this one",
  run,
  report,
};
