/**
 * First come, first served, with everything inline: the prompt that came first goes through encode, prefill and compress
 * alone, and no other begins before it has; running streams get a token after each of these steps.
 */
import { compressBatch, decodeBatch, prefillBatch } from "./batches.ts";
import { compareRank } from "./rank.ts";
import type { Held, PlanView, StageEntry, StepPlan } from "./plan_view.ts";

export function planFcfs(view: PlanView, held: Held[]): StepPlan {
  if (view.inFlight !== null) return { kind: "idle" };
  const decode = decodeBatch(view.decode.ready, view.windows.decode, view.memory.availablePages, held);
  const decodeStep: StepPlan | null = decode.length === 0 ? null : { kind: "decode", items: decode };
  if (decodeStep !== null && view.foreignSteps > 0) return decodeStep;
  return promptStep(view, held) ?? decodeStep ?? { kind: "idle" };
}

/**
 * The next step of who came first. Where that one waits for memory or a seat, one that has begun may go on: it may be the
 * one that has them.
 */
function promptStep(view: PlanView, held: Held[]): StepPlan | null {
  const [compress] = view.compress.ready, [prompt] = view.prefill.ready, [picture] = view.encode.ready;
  const steps: {
    readonly head: StageEntry;
    readonly begun: boolean;
    readonly step: () => StepPlan | null;
  }[] = [];
  if (compress !== undefined) {
    steps.push({ head: compress, begun: true, step: () => compressStep(view, held) });
  }
  if (prompt !== undefined) {
    steps.push({ head: prompt, begun: prompt.begun, step: () => prefillStep(view, held) });
  }
  if (picture !== undefined) {
    steps.push({ head: picture, begun: false, step: () => encodeStep(view, picture) });
  }
  steps.sort((a, b) => compareRank(a.head, b.head));
  for (const [index, { begun, step }] of steps.entries()) {
    const next = index === 0 || begun ? step() : null;
    if (next !== null) return next;
  }
  return null;
}

function compressStep(view: PlanView, held: Held[]): StepPlan | null {
  const limits = { items: 1, tokens: 1 };
  const batch = compressBatch(view.compress.ready, limits, view.memory.availablePages, held);
  return batch === null ? null : { kind: "compress", items: [0] };
}

function prefillStep(view: PlanView, held: Held[]): StepPlan | null {
  const batch = prefillBatch(view, { items: 1, tokens: view.stepTokensMax }, held);
  return batch === null ? null : { kind: "prefill", chunks: batch.chunks };
}

/** All pictures of that one request. */
function encodeStep(view: PlanView, { order }: StageEntry): StepPlan {
  const own = view.encode.ready.filter((entry) => entry.order === order);
  return { kind: "encode", items: own.map((_, index) => index) };
}
