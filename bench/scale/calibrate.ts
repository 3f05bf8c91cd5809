/**
 * The cost model against this machine: measured step times in, open loads out, beside the same loads measured. Machines change
 * their pace within seconds, so every load is measured in pieces, and each piece stands between closed loops that say what
 * steps cost just then.
 */
import { DYNAMIC } from "../../scheduler/policy.ts";
import type { Bench } from "../experiments/experiment.ts";
import { arrivalTimesMs, poisson } from "../load/arrivals.ts";
import { byLabel, sumOf } from "../load/exposition.ts";
import { measure, type Measured } from "../load/measure.ts";
import type { Answer } from "../load/meter.ts";
import type { LoadRequest } from "../load/request.ts";
import type { Loop, Run } from "../load/run.ts";
import { numberOf, type Row } from "../report/table.ts";
import { startOwn } from "../servers.ts";
import {
  fitSteps,
  type LoopSteps,
  measuredCosts,
  type MeasuredCurves,
  type StageSteps,
} from "./measured_costs.ts";
import { simulateLoad, type VirtualRequest, type World } from "./simulate.ts";

/** Closed loops that step times are measured under. The last one's throughput is the capacity. */
const LOOPS = [
  { clients: 1, requests: 10 },
  { clients: 2, requests: 10 },
  { clients: 4, requests: 16 },
  { clients: 16, requests: 48 },
] as const;
/** Of each load, in all its pieces. */
const REQUESTS = 120;
/** Open loads, of the capacity in the loops so far. */
const LOADS = [0.4, 0.6, 0.8];
const PIECES = 3;
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

/** One answered request. Its times count from its sending: how late the load generator is says nothing of the server. */
interface Answered {
  readonly index: number;
  readonly sentMs: number;
  readonly ttftMs: number;
  readonly endMs: number;
  readonly answer: Answer;
}

function answeredOf({ sent, startMs }: Run): Answered[] {
  return sent.flatMap(({ index, sentMs, endMs, reply }) =>
    reply.kind === "answer"
      ? [{
        index,
        sentMs,
        ttftMs: reply.answer.firstTextMs - startMs - sentMs,
        endMs: endMs - sentMs,
        answer: reply.answer,
      }]
      : []
  );
}

const sumBy = <T>(items: readonly T[], read: (item: T) => number) =>
  items.reduce((total, item) => total + read(item), 0);

/** In the stages that give the first token, by the server's clock, waits for the device included. */
function stagesMs({ stages }: Answer): number {
  return ["encode", "prefill"].reduce((sum, stage) => {
    const { waitMs, runMs } = stages?.[stage] ?? { waitMs: 0, runMs: 0 };
    return sum + waitMs + runMs;
  }, 0);
}

/**
 * What a closed loop's steps came to. Whatever of a TTFT is no stage's, and the preparation of its picture, is overhead; that of
 * the first requests, which come all at once, is not like the others'.
 */
function stepsOf(clients: number, { counted, figures, run }: Measured): LoopSteps {
  const samples = counted ?? new Map<string, number>();
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
  const answered = answeredOf(run).filter(({ index }) => index >= clients);
  const pictureMs = 1000 * sumOf(samples, "fastcache_picture_seconds_sum") /
    sumOf(samples, "fastcache_picture_seconds_count");
  return {
    clients,
    ...{ encode: of("encode"), prefill: of("prefill"), decode: of("decode") },
    requests: answered.length,
    overheadMs: sumBy(answered, ({ ttftMs, answer }) => ttftMs - stagesMs(answer) + pictureMs),
    ms: 1000 * figures.seconds,
  };
}

/** Closed loops one after the other. */
interface Block {
  readonly loops: readonly LoopSteps[];
  readonly capacity: number;
}

/** Milliseconds of a picture and its prompt in a block: how fast the machine was. */
function paceOf({ loops }: Block): number {
  return sumBy(loops, ({ encode, prefill }) => encode.ms + prefill.ms) /
    sumBy(loops, ({ encode }) => encode.units);
}

function worldOf(curves: MeasuredCurves): World {
  return {
    ...measuredCosts(curves),
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
  };
}

/** A piece of an open load, and the closed loops before and after it. */
interface Piece {
  readonly rate: number;
  readonly answered: readonly Answered[];
  readonly before: Block;
  readonly after: Block;
}

/** The same requests at the same times in virtual time. */
async function predicted(curves: MeasuredCurves, { answered }: Piece): Promise<Answered[]> {
  const requests = answered.map(({ sentMs, answer }, picture): VirtualRequest => ({
    atMs: sentMs,
    picture,
    textTokens: answer.promptTokens - IMAGE_TOKENS,
    completionTokens: answer.completionTokens,
  }));
  const { run } = await simulateLoad(worldOf(curves), requests);
  return answeredOf(run);
}

/** Figures of one load: of all its pieces, measured and predicted from the loops around them. */
async function loadColumns(pieces: readonly Piece[]): Promise<Row> {
  const curves = fitSteps(pieces.flatMap(({ before, after }) => [...before.loops, ...after.loops]));
  const real = pieces.flatMap(({ answered }) => answered);
  const virtual: Answered[] = [];
  for (const piece of pieces) virtual.push(...await predicted(curves, piece));
  const mean = (of: readonly Answered[], read: (one: Answered) => number) => sumBy(of, read) / of.length;
  return {
    rate: sumBy(pieces, ({ rate }) => rate) / pieces.length,
    pace_change: sumBy(pieces, ({ after }) => paceOf(after)) / sumBy(pieces, ({ before }) => paceOf(before)) -
      1,
    measured_ttft: mean(real, ({ ttftMs }) => ttftMs),
    predicted_ttft: mean(virtual, ({ ttftMs }) => ttftMs),
    measured_stages: mean(real, ({ answer }) => stagesMs(answer)),
    predicted_stages: mean(virtual, ({ answer }) => stagesMs(answer)),
    measured_end: mean(real, ({ endMs }) => endMs),
    predicted_end: mean(virtual, ({ endMs }) => endMs),
    curves: JSON.stringify(curves),
  };
}

export async function calibrate(bench: Bench): Promise<void> {
  await bench.cell("calibration", { part: "calibration" }, async () => {
    const count = Math.ceil((bench.options.requests ?? REQUESTS) / PIECES);
    await using served = await startOwn("fastcache", ["--prefix-cache", "off", ...bench.options.serverFlags]);
    const load = async (label: string, requests: readonly LoadRequest[], loop: Loop) => {
      const { connectionsMax, timeoutMs, targets } = bench.options;
      return await measure(served, requests, {
        ...{ label, loop, warmUp: [], connectionsMax, timeoutMs, targets, stop: bench.stop },
      });
    };
    const closed = async (label: string, clients: number, requests: number) =>
      await load(label, await bench.requests(label, WORKLOAD, requests, true), { kind: "closed", clients });
    await closed("start", SEQUENCES_MAX, START_REQUESTS);
    const blocks: Block[] = [];
    const block = async (): Promise<Block> => {
      const loops: LoopSteps[] = [];
      let capacity = 0;
      for (const { clients, requests } of LOOPS) {
        const loop = await closed(`loops ${blocks.length + 1}, ${clients} clients`, clients, requests);
        loops.push(stepsOf(clients, loop));
        capacity = loop.figures.steadyPerSecond;
      }
      const made = { loops, capacity };
      blocks.push(made);
      return made;
    };
    const pieces = LOADS.map((): Piece[] => []);
    let before = await block();
    for (let piece = 1; piece <= PIECES; piece++) {
      for (const [i, share] of LOADS.entries()) {
        const label = `open ${share}, piece ${piece}`;
        const rate = share * sumBy(blocks, ({ capacity }) => capacity) / blocks.length;
        const timesMs = arrivalTimesMs(poisson(rate), bench.draws(label), count);
        const requests = await bench.requests(label, WORKLOAD, count, true);
        const { run } = await load(label, requests, { kind: "open", timesMs });
        const after = await block();
        pieces[i].push({ rate, answered: answeredOf(run), before, after });
        before = after;
      }
    }
    const row: Record<string, string | number> = {};
    for (const [i, share] of LOADS.entries()) {
      for (const [name, value] of Object.entries(await loadColumns(pieces[i]))) {
        row[`${name}_${share}`] = value;
      }
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
      measured_stages_ms: value("measured_stages"),
      predicted_stages_ms: value("predicted_stages"),
      measured_end_ms: value("measured_end"),
      predicted_end_ms: value("predicted_end"),
      end_off: off("end"),
      pace_change: value("pace_change"),
    };
  });
}
