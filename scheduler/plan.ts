/**
 * What the device does next. One pure function of what waits, of the budgets and of the pool: prefill and decode never
 * race for the device, because only this decides.
 *
 * Each stage's window says when its batch is released. Of the released ones compress goes first (it gives pages back),
 * then prefill, then encode (what came first gets its first token first), and decode when nothing else does; but after
 * a step of the others decode gets a turn, except that an encode step is followed by the prefill that waited for it. So
 * running streams wait for two foreign steps at most.
 */
import {
  BATCHING_STAGES,
  type BatchingStage,
  fillWindow,
  releaseAtMs,
  type WindowEntry,
  type Windows,
} from "./window.ts";

export interface PrefillEntry extends WindowEntry {
  /** Pages to reserve before its first chunk; 0 once that is done. `tokens` are those not stored yet. */
  readonly quotaPages: number;
}

/** What waits at a stage, oldest first, and whether more could join it soon. */
export interface StageView<Entry extends WindowEntry = WindowEntry> {
  readonly ready: readonly Entry[];
  readonly company: boolean;
}

export interface PlanView {
  readonly nowMs: number;
  /** The step that ran last. */
  readonly last: BatchingStage | null;
  readonly windows: Windows;
  /** Tokens that one forward step takes. */
  readonly stepTokensMax: number;
  readonly encode: StageView;
  readonly prefill: StageView<PrefillEntry>;
  readonly compress: StageView;
  readonly decode: StageView;
  /** Sequences that may begin beside the running ones. */
  readonly seatsFree: number;
  /** Pages that no quota covers. */
  readonly pagesFree: number;
}

export type Plan =
  | { readonly kind: "encode" | "compress" | "decode"; readonly items: number }
  /** chunks[i]: tokens of the i-th waiting sequence. */
  | { readonly kind: "prefill"; readonly chunks: readonly number[] }
  /** A window opens then. */
  | { readonly kind: "wait"; readonly untilMs: number }
  /** Nothing can run until something arrives. */
  | { readonly kind: "idle" };

const PRIORITY: readonly BatchingStage[] = ["compress", "prefill", "encode", "decode"];
const AFTER_ENCODE: readonly BatchingStage[] = ["prefill", "decode", "compress", "encode"];
const DECODE_TURN: readonly BatchingStage[] = ["decode", "compress", "prefill", "encode"];

/** A batch that could run, and from when on. */
interface Candidate {
  readonly plan: Plan;
  readonly releaseMs: number;
}

function orderAfter(last: BatchingStage | null): readonly BatchingStage[] {
  if (last === "encode") return AFTER_ENCODE;
  return last === null || last === "decode" ? PRIORITY : DECODE_TURN;
}

export function plan(view: PlanView): Plan {
  const candidates = new Map<BatchingStage, Candidate>();
  for (const stage of BATCHING_STAGES) {
    const candidate = stage === "prefill" ? prefillCandidate(view) : batchCandidate(view, stage);
    if (candidate !== null) candidates.set(stage, candidate);
  }
  let untilMs = Infinity;
  for (const stage of orderAfter(view.last)) {
    const candidate = candidates.get(stage);
    if (candidate === undefined) continue;
    if (candidate.releaseMs <= view.nowMs) return candidate.plan;
    untilMs = Math.min(untilMs, candidate.releaseMs);
  }
  return untilMs === Infinity ? { kind: "idle" } : { kind: "wait", untilMs };
}

function batchCandidate(view: PlanView, stage: Exclude<BatchingStage, "prefill">): Candidate | null {
  const { ready, company } = view[stage];
  if (ready.length === 0) return null;
  let limits = view.windows[stage];
  if (stage === "decode") limits = { ...limits, tokens: Math.min(limits.tokens, view.stepTokensMax) };
  const { items, full } = fillWindow(ready, limits);
  const releaseMs = full ? -Infinity : releaseAtMs(ready[0].sinceMs, limits, company);
  return { plan: { kind: stage, items }, releaseMs };
}

/** Chunks in the order of arrival until tokens, members, seats or pages run out. */
export function prefillChunks(view: PlanView): { chunks: number[]; full: boolean } {
  const { items, tokens } = view.windows.prefill;
  let budget = Math.min(tokens, view.stepTokensMax);
  let { seatsFree, pagesFree } = view;
  const chunks: number[] = [];
  for (const entry of view.prefill.ready) {
    if (budget === 0 || chunks.length === items) return { chunks, full: true };
    if (entry.quotaPages > 0) {
      // Those behind wait too: whoever needs many pages is not overtaken for ever.
      if (seatsFree < 1 || entry.quotaPages > pagesFree) return { chunks, full: true };
      seatsFree--;
      pagesFree -= entry.quotaPages;
    }
    const chunk = Math.min(entry.tokens, budget);
    chunks.push(chunk);
    budget -= chunk;
  }
  return { chunks, full: budget === 0 || chunks.length === items };
}

function prefillCandidate(view: PlanView): Candidate | null {
  const { chunks, full } = prefillChunks(view);
  if (chunks.length === 0) return null;
  const { ready, company } = view.prefill;
  const releaseMs = full ? -Infinity : releaseAtMs(ready[0].sinceMs, view.windows.prefill, company);
  return { plan: { kind: "prefill", chunks }, releaseMs };
}
