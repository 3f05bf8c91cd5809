/** What the stages hold at this moment, as the plan sees it. */
import type { Compress } from "./compress.ts";
import type { StageCosts } from "./costs.ts";
import type { Decode } from "./decode.ts";
import { expectedPages } from "./demand.ts";
import type { Encode } from "./encode.ts";
import type { MemoryView, PlanView } from "./plan_view.ts";
import type { Policy } from "./policy.ts";
import type { Preemption } from "./preemption.ts";
import type { Prefill } from "./prefill.ts";
import { LOW_WATERMARK_SHARE } from "./pressure.ts";
import type { StageParts } from "./stage.ts";
import type { Windows } from "./window.ts";

export interface ViewSettings {
  readonly policy: Policy;
  readonly windows: Windows;
  readonly itlTargetMs: number;
  readonly maxNumSeqs: number;
  readonly costs: StageCosts;
}

export interface Stages {
  readonly encode: Encode;
  readonly prefill: Prefill;
  readonly compress: Compress;
  readonly decode: Decode;
  readonly preemption: Preemption;
}

export function viewOf(parts: StageParts, stages: Stages, settings: ViewSettings): PlanView {
  const { clock, engine, lane, roster } = parts;
  const { policy, windows, costs, itlTargetMs } = settings;
  const nowMs = clock.now();
  const prefill = stages.prefill.ready();
  const encode = stages.encode.ready();
  const compress = stages.compress.ready();
  const decode = stages.decode.ready();
  // Whatever can come to prefill without a step that is chosen here.
  const coming = roster.count("intake") > 0 || stages.encode.company || encode.length > 0 ||
    lane.inFlight !== null;
  const { memory, largestHeld } = memoryOf(parts);
  const wanted = sum(decode) + sum(compress) + sum(prefill.filter(({ begun }) => begun));
  // No copy is larger than the cache that it is made of.
  const short =
    memory.availablePages < wanted + Math.max(largestHeld, LOW_WATERMARK_SHARE * memory.totalPages);
  return {
    nowMs,
    policy,
    windows,
    costs,
    itlTargetMs,
    stepTokensMax: engine.facts.stepTokensMax,
    inFlight: lane.inFlight,
    decodeInFlight: lane.decoding,
    sinceDecodeMs: lane.decoding || decode.length === 0
      ? 0
      : nowMs - Math.min(...decode.map(({ sinceMs }) => sinceMs)) + lane.remainingMs(nowMs),
    foreignSteps: lane.foreignSteps,
    encode: { ready: encode, company: stages.encode.company },
    prefill: { ready: prefill, company: coming },
    compress: { ready: compress, company: coming || prefill.some(({ begun }) => begun) },
    decode: { ready: decode, company: coming, batchRuns: stages.decode.batchRuns },
    // A sequence that waits for its reader holds its pages but not its seat.
    seatsFree: settings.maxNumSeqs - (roster.running - stages.decode.paused),
    memory,
    // A shorter cache frees nothing of a run.
    compressible: short && parts.pool.shape.runPages === undefined ? stages.decode.compressible() : [],
    holders: short ? stages.preemption.holders() : [],
  };
}

function sum(entries: readonly { readonly pages: number }[]): number {
  return entries.reduce((total, { pages }) => total + pages, 0);
}

/** And the pages of the sequence that holds most. */
function memoryOf({ pool, roster, outputLength }: StageParts): { memory: MemoryView; largestHeld: number } {
  let promisedPages = 0, largestHeld = 0;
  for (const sequence of roster.sequences()) {
    if (sequence.pages === null) continue;
    const { held } = sequence.pages;
    promisedPages += Math.max(0, expectedPages(sequence, pool.shape, outputLength) - held);
    if (held > largestHeld) largestHeld = held;
  }
  const memory = { availablePages: pool.availablePages, promisedPages, totalPages: pool.shape.pageCount };
  return { memory, largestHeld };
}
