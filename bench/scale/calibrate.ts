/** The cost model against this machine: measured step times in, open loads out, beside the same loads measured. */
import { DYNAMIC } from "../../scheduler/policy.ts";
import type { Bench } from "../experiments/experiment.ts";
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { byLabel, type Samples } from "../load/exposition.ts";
import { type Figures, figuresOf } from "../load/figures.ts";
import { measure } from "../load/measure.ts";
import type { LoadRequest } from "../load/request.ts";
import type { Pace } from "../load/run.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import { fitLine, linearCosts, type Lines, type Measured } from "./costs.ts";
import { simulateLoad, type VirtualRequest, type World } from "./simulate.ts";

/** Clients of the closed loops that step times are measured under. */
const CLIENTS = [1, 4, 16];
const REQUESTS = 100;
/** Open loads, of the capacity that the largest closed loop showed. */
const LOADS = [0.4, 0.6, 0.8];
const WARM_UP_REQUESTS = 12;
/** The default model's pool and lengths. */
const PAGE_SLOTS = 16;
const IMAGE_TOKENS = 64;
const MAX_MODEL_LEN = 2048;
const SEQUENCES_MAX = 32;
const POOL_TOKENS = 65_536;
const STEP_TOKENS_MAX = 4096;
const WORKLOAD = "gqa-caption";

/** Steps of one closed loop by stage; prefill's units are tokens, those of the others items. */
function stepsOf(counted: Samples, promptTokens: number): Record<keyof Lines, Measured> {
  const read = (name: string) => byLabel(counted, name, "stage");
  const [steps, items, seconds] = [
    read("fastcache_step_items_count"),
    read("fastcache_step_items_sum"),
    read("fastcache_step_seconds_sum"),
  ];
  const of = (stage: keyof Lines): Measured => ({
    steps: steps.get(stage) ?? 0,
    units: stage === "prefill" ? promptTokens : items.get(stage) ?? 0,
    ms: 1000 * (seconds.get(stage) ?? 0),
  });
  return { encode: of("encode"), prefill: of("prefill"), decode: of("decode"), compress: of("compress") };
}

function worldOf(lines: Lines, overheadMs: number): World {
  return {
    costs: linearCosts(lines),
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
      pace: Pace,
    ): Promise<LoadFigures> => {
      const { connectionsMax, timeoutMs, targets } = bench.options;
      const { figures, run, counted } = await measure(served, requests, {
        ...{ label, pace, warmUp, connectionsMax, timeoutMs, targets, stop: bench.stop },
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
    const closed: LoadFigures[] = [];
    for (const clients of CLIENTS) {
      const requests = await bench.requests(`calibration ${clients}`, WORKLOAD, count, true);
      closed.push(await load(`calibration, ${clients} clients`, requests, { kind: "closed", clients }));
    }
    const measured = closed.map(({ counted, figures }) =>
      stepsOf(counted ?? new Map(), figures.promptTokens)
    );
    const lines: Lines = {
      encode: fitLine(measured.map(({ encode }) => encode)),
      prefill: fitLine(measured.map(({ prefill }) => prefill)),
      decode: fitLine(measured.map(({ decode }) => decode)),
      compress: fitLine(measured.map(({ compress }) => compress)),
    };
    // One client waits for nobody: what its first token takes beside encode and prefill is everything else.
    const [alone] = closed;
    const overheadMs = Math.max(
      0,
      alone.figures.ttftMs.mean - measured[0].encode.ms / count - measured[0].prefill.ms / count,
    );
    const capacity = closed.at(-1)!.figures.requestsPerSecond;
    const row: Record<string, string | number> = { capacity_per_s: capacity, overhead_ms: overheadMs };
    for (const [stage, { base, each }] of Object.entries(lines)) {
      row[`${stage}_base_ms`] = base;
      row[`${stage}_each_ms`] = each;
    }
    for (const share of LOADS) {
      const requests = await bench.requests(`open ${share}`, WORKLOAD, count, true);
      const timesMs = arrivalTimesMs(poisson(share * capacity), bench.draws(`open ${share}`), count);
      const real = await load(`check at ${share}`, requests, { kind: "open", timesMs });
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
      measured_ttft_ms: value("measured_ttft"),
      predicted_ttft_ms: value("predicted_ttft"),
      ttft_off: off("ttft"),
      measured_end_ms: value("measured_end"),
      predicted_end_ms: value("predicted_end"),
      end_off: off("end"),
    };
  });
}
