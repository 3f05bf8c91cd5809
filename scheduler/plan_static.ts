/**
 * Batch-synchronous, as the paper's baselines p1c1d8 … are: fixed sizes, one batch at a time, and a decode batch runs to
 * its completion. Honest in that kernels, caches and admission are the dynamic policy's, and a stage starts when its
 * batch is full or when nothing else can come, never on a timer.
 */
import { compressBatch, decodeBatch, encodeBatch, prefillBatch } from "./batches.ts";
import type { Policy } from "./policy.ts";
import type { Held, PlanView, StepPlan } from "./plan_view.ts";

type StaticPolicy = Extract<Policy, { kind: "static" }>;

export function planStatic(view: PlanView, policy: StaticPolicy, held: Held[]): StepPlan {
  if (view.inFlight !== null) return { kind: "idle" };
  if (view.decode.batchRuns) return decodeStep(view, view.decode.ready.length, held) ?? { kind: "idle" };
  return promptStep(view, policy, held) ?? compressStep(view, policy, held) ??
    decodeGroup(view, policy, held) ?? { kind: "idle" };
}

/** Prompts win: the batch that is full first, or what there is when no more can come. */
function promptStep(view: PlanView, policy: StaticPolicy, held: Held[]): StepPlan | null {
  const { stepTokensMax } = view;
  const prefill = prefillBatch(view, { items: policy.prefill, tokens: stepTokensMax }, held);
  if (prefill !== null && (prefill.full || !view.prefill.company)) {
    return { kind: "prefill", chunks: prefill.chunks };
  }
  const encode = encodeBatch(view.encode.ready, { items: policy.prefill, tokens: stepTokensMax });
  if (encode !== null && (encode.full || !view.encode.company)) {
    return { kind: "encode", items: Array.from({ length: encode.items }, (_, index) => index) };
  }
  return null;
}

function compressStep(view: PlanView, policy: StaticPolicy, held: Held[]): StepPlan | null {
  const { availablePages } = view.memory;
  const limits = { items: policy.compress, tokens: view.windows.compress.tokens };
  const batch = compressBatch(view.compress.ready, limits, availablePages, held);
  if (batch === null || (!batch.full && view.compress.company)) return null;
  return { kind: "compress", items: Array.from({ length: batch.items }, (_, index) => index) };
}

function decodeGroup(view: PlanView, policy: StaticPolicy, held: Held[]): StepPlan | null {
  if (view.decode.ready.length < policy.decode && view.decode.company) return null;
  return decodeStep(view, policy.decode, held);
}

function decodeStep(view: PlanView, items: number, held: Held[]): StepPlan | null {
  const chosen = decodeBatch(
    view.decode.ready,
    { items, tokens: view.stepTokensMax },
    view.memory.availablePages,
    held,
  );
  return chosen.length === 0 ? null : { kind: "decode", items: chosen };
}
