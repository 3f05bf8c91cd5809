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
import type { Row } from "../report/table.ts";
import { type Bound, boundOf } from "../scale/bound.ts";
import { calibrate } from "../scale/calibrate.ts";
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
import { COMPLETION_TOKENS, LENGTHS, TEXT_TOKENS } from "../scale/paper_load.ts";
import type { Bench, Experiment } from "./experiment.ts";
import { report } from "./scale_report.ts";
import type { MethodName } from "../../lib/engine/compress/method.ts";
import { BASELINE, COMPRESS_DEFAULT, POLICIES, policyFlags } from "./policies.ts";
import { usualCompression } from "../../lib/engine/compress/mod.ts";

const MODEL = fileURLToPath(new URL("../configs/llava-1.5-7b", import.meta.url));
const RATES = [1, 4, 10, 20, 40];
const RATES_QUICK = [10, 40];
/** Many more than the paper's 90: what a queue does takes time to show. */
const REQUESTS = 1000;
/** As many as the paper's own runs have: a queue without end has no time to grow. */
const REQUESTS_PAPER = 90;
/** The smaller devices answer so few a second that fewer requests take as long. */
const REQUESTS_EDGE = 200;
/** Sequences that generate at one time, of the policies that set no number of their own. */
const SEQUENCES_MAX = 256;
/** Share of the memory for weights and KV; the rest is for activations. */
const MEMORY_SHARE = 0.9;
const PAGE_SLOTS = 16;
const STEP_TOKENS_MAX = 4096;
/** Questions with short answers, five a picture: what a hash of the picture is for. */
const ANSWER_TOKENS = { least: 2, most: 16 };
const PICTURES_SHARE = 0.2;
const REPLICAS_QUICK = [12, 16, 24].map((replicas) => ({ replicas, requests: 10_000, perSecond: 1000 }));
const REPLICAS = [...REPLICAS_QUICK, { replicas: 24, requests: 100_000, perSecond: 1000 }];

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
      ...usualCompression(method as MethodName, Number(ratio)),
      protect: [],
      underPressure: false,
      adaptive: false,
      minTokens: 0,
    },
    maxNumSeqs: SEQUENCES_MAX,
    // The paper's queues have no end.
    waitingRequestsMax: 1_000_000,
    overheadMs: () => 0,
  };
}

function virtualRequests(
  bench: Bench,
  count: number,
  perSecond: number,
  pictures: number,
  completion: { readonly least: number; readonly most: number },
): VirtualRequest[] {
  const draws = bench.draws("virtual requests");
  const timesMs = arrivalTimesMs(poisson(perSecond), bench.draws("virtual arrivals"), count);
  return Array.from(timesMs, (atMs) => ({
    atMs,
    picture: draws.integer(0, pictures - 1),
    textTokens: TEXT_TOKENS,
    completionTokens: draws.integer(completion.least, completion.most),
  }));
}

/** What the device's stage times allow a policy. */
function boundAt({ costs, facts, imageTokens, maxNumSeqs, policy }: World, lengths: number): Bound {
  const [, ratio] = COMPRESS_DEFAULT.split(":");
  const promptTokens = imageTokens + TEXT_TOKENS;
  const { least, most } = COMPLETION_TOKENS;
  return boundOf(
    policy,
    costs,
    {
      ...{ imageTokens, promptTokens, keptTokens: promptTokens * (1 - Number(ratio)) },
      completionTokens: { least: least * lengths, most: most * lengths },
    },
    {
      sequences: maxNumSeqs,
      stepTokens: facts.stepTokensMax,
      poolTokens: facts.pageCount * facts.pageSlots,
    },
  );
}

function boundColumns(world: World): Row {
  const { encodeMs, prefillMs, compressMs, decodeMs, decodeSteps, decodeBatch, perSecond } = boundAt(
    world,
    1,
  );
  return {
    bound_per_s: perSecond,
    bound_encode_ms: encodeMs,
    bound_prefill_ms: prefillMs,
    bound_compress_ms: compressMs,
    bound_decode_ms: decodeMs,
    bound_decode_steps: decodeSteps,
    bound_decode_batch: decodeBatch,
    // At each of the multiples of the lengths.
    bounds_per_s: LENGTHS.map((lengths) => boundAt(world, lengths).perSecond.toFixed(3)).join(" "),
  };
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

interface DeviceRun {
  readonly part: "device" | "short";
  readonly name: DeviceName;
  readonly rates: readonly number[];
  readonly policies: readonly string[];
  readonly count: number;
}

async function runDevice(bench: Bench, { part, name, rates, policies, count }: DeviceRun): Promise<void> {
  for (const rate of rates) {
    for (const policy of policies) {
      const columns = { part, device: DEVICES[name].name, policy, rate_per_s: rate };
      const cell = part === "device" ? name : `${name}, ${count} requests`;
      await bench.cell(`${cell}/${policy}/${rate} per s`, columns, async () => {
        const requests = virtualRequests(bench, count, rate, 1_000_000, COMPLETION_TOKENS);
        const simulated = await world(DEVICES[name], policyFlags(policy)[1]);
        const { run, busyMs } = await simulateReplicas(simulated, requests, 1, bench.stop);
        const row = figureColumns(figuresOf(run, unjudged(count), "open", bench.options.targets));
        return { ...row, ...boundColumns(simulated), device_busy_s: busyMs / 1000 };
      });
    }
  }
}

async function runDevices(bench: Bench): Promise<void> {
  const { quick } = bench.options;
  const rates = bench.options.rates ?? (quick ? RATES_QUICK : RATES);
  for (const name of (quick ? ["h100"] : Object.keys(DEVICES)) as DeviceName[]) {
    const count = bench.options.requests ?? (name === "h100" ? REQUESTS : REQUESTS_EDGE);
    await runDevice(bench, { part: "device", name, rates, policies: POLICIES, count });
  }
  const paper = { name: "h100", rates, policies: ["dynamic", BASELINE], count: REQUESTS_PAPER } as const;
  await runDevice(bench, { part: "short", ...paper });
}

async function runReplicas(bench: Bench): Promise<void> {
  for (const { replicas, requests: count, perSecond } of bench.options.quick ? REPLICAS_QUICK : REPLICAS) {
    const columns = { part: "replicas", device: DEVICES.h100.name, policy: "dynamic", rate_per_s: perSecond };
    await bench.cell(`replicas/${replicas}/${count} requests`, { ...columns, replicas }, async () => {
      const requests = virtualRequests(
        bench,
        count,
        perSecond,
        Math.ceil(count * PICTURES_SHARE),
        ANSWER_TOKENS,
      );
      const simulated = await world(DEVICES.h100, "dynamic");
      const { run } = await simulateReplicas(simulated, requests, replicas, bench.stop);
      return figureColumns(figuresOf(run, unjudged(count), "open", bench.options.targets));
    });
  }
}

async function run(bench: Bench): Promise<void> {
  await runDevices(bench);
  await calibrate(bench);
  await runReplicas(bench);
}

export const scale: Experiment = {
  name: "scale",
  summary: "other machines in virtual time, and the cost model checked against this one",
  run,
  report,
};
