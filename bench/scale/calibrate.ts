/** The cost model against this machine: measured step times in, open loads out, beside the same loads measured. */
import { DYNAMIC } from "../../scheduler/policy.ts";
import type { Bench } from "../experiments/experiment.ts";
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { byLabel, type Samples } from "../load/exposition.ts";
import { type Figures, figuresOf } from "../load/figures.ts";
import { measure } from "../load/measure.ts";
import type { LoadRequest } from "../load/request.ts";
import type { Loop } from "../load/run.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import {
  fitSteps,
  type LoadSteps,
  measuredCosts,
  type MeasuredLines,
  type StageSteps,
} from "./measured_costs.ts";
import { simulateLoad, type VirtualRequest, type World } from "./simulate.ts";

/**
 * Closed loops that step times are measured under, before and after every check: machines change their pace. The last one's
 * throughput is the capacity.
 */
const LOOPS = [{ clients: 1, share: 0.3 }, { clients: 4, share: 0.5 }, { clients: 16, share: 0.8 }] as const;
const REQUESTS = 100;
/** Open loads, of the capacity in the loops before them. */
const LOADS = [0.4, 0.6, 0.8];
/** Before each load. */
const WARM_UP_REQUESTS = 12;
/** After the server's start: it compiles what it runs often, and is slower until then. */
const START_REQUESTS = 300;
/** The default model's pool and lengths. */
const PAGE_SLOTS = 16;
const IMAGE_TOKENS = 64;
const MAX_MODEL_LEN = 2048;
const SEQUENCES_MAX = 32;
const POOL_TOKENS = 65_536;
const STEP_TOKENS_MAX = 4096;
const WORKLOAD = "gqa-caption";

/** Steps of one load by stage. */
function stepsOf({ counted, figures }: LoadFigures, alone: boolean): LoadSteps {
  const samples: Samples = counted ?? new Map();
  const read = (name: string) => byLabel(samples, name, "stage");
  const [steps, items, seconds] = [
    read("fastcache_step_items_count"),
    read("fastcache_step_items_sum"),
    read("fastcache_step_seconds_sum"),
  ];
  const of = (stage: string): StageSteps => ({
    steps: steps.get(stage) ?? 0,
    units: stage === "prefill" ? figures.promptTokens : items.get(stage) ?? 0,
    ms: 1000 * (seconds.get(stage) ?? 0),
  });
  return {
    ...{ encode: of("encode"), prefill: of("prefill"), decode: of("decode") },
    ms: 1000 * figures.seconds,
    alone,
  };
}

/** Closed loops one after the other: their steps, and what a client alone waits beside them, milliseconds. */
interface Block {
  readonly steps: readonly LoadSteps[];
  readonly overheadMs: number;
  readonly capacity: number;
}

/** One client waits for nobody: what its first token takes beside encode and prefill is everything else. */
function overheadOf(alone: LoadSteps, { ttftMs, answered }: Figures): number {
  return Math.max(0, ttftMs.mean - (alone.encode.ms + alone.prefill.ms) / answered);
}

/** Milliseconds of a picture and of a prompt token in a block, together: how fast the machine was. */
function paceOf({ steps }: Block): number {
  const sum = (read: (load: LoadSteps) => number) => steps.reduce((total, load) => total + read(load), 0);
  return sum(({ encode, prefill }) => encode.ms + prefill.ms) / sum(({ encode }) => encode.units);
}

function worldOf(lines: MeasuredLines, overheadMs: number): World {
  return {
    costs: measuredCosts(lines),
    facts: {
      ...{
        backend: "virtual",
        adapter: "calibrated",
        software: true,
        features: [],
        loadMs: {},
        kvDtype: "f16",
      },
      ...{ layers: 1, vocabSize: 1024, pageBytes: 1, pageSlots: PAGE_SLOTS },
      shape: { heads: 1, kvHeads: 1, headDim: 1 },
      pageCount: POOL_TOKENS / PAGE_SLOTS,
      embeddingRows: IMAGE_TOKENS * SEQUENCES_MAX,
      stepTokensMax: STEP_TOKENS_MAX,
      compressors: [],
    },
    imageTokens: IMAGE_TOKENS,
    maxModelLen: MAX_MODEL_LEN,
    policy: DYNAMIC,
    compression: null,
    maxNumSeqs: SEQUENCES_MAX,
    waitingRequestsMax: 512,
    overheadMs,
  };
}

interface LoadFigures {
  readonly figures: Figures;
  readonly counted: Samples | null;
  readonly completionTokens: readonly number[];
  readonly promptTokens: readonly number[];
}

export async function calibrate(bench: Bench): Promise<void> {
  await bench.cell("calibration", { part: "calibration" }, async () => {
    const count = bench.options.requests ?? REQUESTS;
    await using served = await startOwn("fastcache", ["--prefix-cache", "off", ...bench.options.serverFlags]);
    const warmUp = await bench.requests("warm-up", WORKLOAD, WARM_UP_REQUESTS, true);
    const load = async (
      label: string,
      requests: readonly LoadRequest[],
      loop: Loop,
    ): Promise<LoadFigures> => {
      const { connectionsMax, timeoutMs, targets } = bench.options;
      const { figures, run, counted } = await measure(served, requests, {
        ...{ label, loop, warmUp, connectionsMax, timeoutMs, targets, stop: bench.stop },
      });
      const answers = run.sent.toSorted((a, b) => a.index - b.index).map(({ reply }) =>
        reply.kind === "answer" ? reply.answer : null
      );
      return {
        figures,
        counted,
        completionTokens: answers.map((answer) => answer?.completionTokens ?? 1),
        promptTokens: answers.map((answer) => answer?.promptTokens ?? IMAGE_TOKENS + 1),
      };
    };
    const first = await bench.requests("start", WORKLOAD, START_REQUESTS, true);
    await load("start", first, { kind: "closed", clients: SEQUENCES_MAX });
    const block = async (name: string): Promise<Block> => {
      const loops: { readonly steps: LoadSteps; readonly figures: Figures }[] = [];
      for (const { clients, share } of LOOPS) {
        const label = `calibration ${name}, ${clients} clients`;
        const requests = await bench.requests(label, WORKLOAD, Math.ceil(share * count), true);
        const closed = await load(label, requests, { kind: "closed", clients });
        loops.push({ steps: stepsOf(closed, clients === 1), figures: closed.figures });
      }
      const [alone] = loops;
      return {
        steps: loops.map(({ steps }) => steps),
        overheadMs: overheadOf(alone.steps, alone.figures),
        capacity: loops.at(-1)!.figures.requestsPerSecond,
      };
    };
    const row: Record<string, string | number> = {};
    let before = await block("before");
    for (const share of LOADS) {
      const requests = await bench.requests(`open ${share}`, WORKLOAD, count, true);
      const timesMs = arrivalTimesMs(poisson(share * before.capacity), bench.draws(`open ${share}`), count);
      const real = await load(`check at ${share}`, requests, { kind: "open", timesMs });
      const after = await block(`after ${share}`);
      const lines = fitSteps([...before.steps, ...after.steps]);
      const overheadMs = (before.overheadMs + after.overheadMs) / 2;
      row[`rate_${share}`] = share * before.capacity;
      row[`pace_change_${share}`] = paceOf(after) / paceOf(before) - 1;
      before = after;
      const virtual = Array.from(timesMs, (atMs, i): VirtualRequest => ({
        atMs,
        picture: i,
        textTokens: real.promptTokens[i] - IMAGE_TOKENS,
        completionTokens: real.completionTokens[i],
      }));
      const { run } = await simulateLoad(worldOf(lines, overheadMs), virtual);
      const predicted = figuresOf(run, requests, "open", bench.options.targets);
      row[`measured_ttft_${share}`] = real.figures.ttftMs.mean;
      row[`predicted_ttft_${share}`] = predicted.ttftMs.mean;
      row[`measured_end_${share}`] = real.figures.endToEndMs.mean;
      row[`predicted_end_${share}`] = predicted.endToEndMs.mean;
      row[`lines_${share}`] = JSON.stringify({ ...lines, overheadMs });
    }
    return row;
  });
}

/** A row a load of the calibration's one row. */
export function compare(rows: readonly Row[]): Row[] {
  const row = rows.find(({ part }) => part === "calibration");
  if (row === undefined) return [];
  return LOADS.map((load) => {
    const value = (what: string) => numberOf(row, `${what}_${load}`);
    const off = (name: string) => value(`predicted_${name}`) / value(`measured_${name}`) - 1;
    return {
      load,
      rate_per_s: value("rate"),
      measured_ttft_ms: value("measured_ttft"),
      predicted_ttft_ms: value("predicted_ttft"),
      ttft_off: off("ttft"),
      measured_end_ms: value("measured_end"),
      predicted_end_ms: value("predicted_end"),
      end_off: off("end"),
      pace_change: value("pace_change"),
    };
  });
}
