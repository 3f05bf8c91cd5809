/** One line of the plan trace: what was chosen, what was refused and why. */
import type { Decision, PlanView, StepPlan } from "./plan_view.ts";
import { policyText } from "./policy.ts";

export interface PlanRecord {
  readonly ms: number;
  readonly policy: string;
  readonly step: StepPlan["kind"];
  /** Members, and tokens where they differ from members. */
  readonly items: number;
  readonly tokens?: number;
  readonly after: string | null;
  readonly waiting: Readonly<Record<"encode" | "prefill" | "compress" | "decode", number>>;
  readonly pages: { readonly available: number; readonly promised: number; readonly total: number };
  /** `prefill pages 96>40`: what was held back, why, and what it needs against what there is. */
  readonly held: readonly string[];
}

export function planRecord(view: PlanView, { step, held }: Decision): PlanRecord {
  const { availablePages, promisedPages, totalPages } = view.memory;
  return {
    ms: round(view.nowMs),
    policy: policyText(view.policy),
    step: step.kind,
    ...sizeOf(step),
    after: view.inFlight,
    waiting: {
      encode: view.encode.ready.length,
      prefill: view.prefill.ready.length,
      compress: view.compress.ready.length,
      decode: view.decode.ready.length,
    },
    pages: { available: availablePages, promised: promisedPages, total: totalPages },
    held: held.map(({ stage, why, needed, available }) =>
      `${stage} ${why} ${round(needed)}>${round(available)}`
    ),
  };
}

function sizeOf(step: StepPlan): { items: number; tokens?: number } {
  switch (step.kind) {
    case "prefill":
      return { items: step.chunks.length, tokens: step.chunks.reduce((sum, tokens) => sum + tokens, 0) };
    case "idle":
      return { items: 0 };
    case "preempt":
      return { items: 1 };
    default:
      return { items: step.items.length };
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
