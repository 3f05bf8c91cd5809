/** What the choice of the next step is made from, and what it can be. Plain data. */
import type { StageCosts } from "./costs.ts";
import type { Policy } from "./policy.ts";
import type { Ranked } from "./rank.ts";
import type { BatchingStage, Windows } from "./window.ts";

/** Work that waits at a stage. */
export interface StageEntry extends Ranked {
  /** Since when it waits there. */
  readonly sinceMs: number;
  /** Features of a picture, tokens of a prompt not stored yet, stored slots to compress, 1 for decode. */
  readonly tokens: number;
  /** Pages that it takes now: the prompt's, the shorter copy's, the next slot's; 0 once they are held. */
  readonly pages: number;
}

export interface PrefillEntry extends StageEntry {
  /** Its pages are held: a chunk of it was stored before. */
  readonly begun: boolean;
  /** Pages that it is expected to take later, for its copy or its completion, beyond those it takes now. */
  readonly pagesLater: number;
}

/** What waits at a stage, first served first, and whether more could join it soon. */
export interface StageView<Entry extends StageEntry = StageEntry> {
  readonly ready: readonly Entry[];
  readonly company: boolean;
}

/** A sequence that holds pages and is in no step: it could be preempted. */
export interface Holder extends Ranked {
  readonly pages: number;
  /** It waits for its reader. */
  readonly paused: boolean;
}

export interface MemoryView {
  /** Pages that sequences can get: free ones, and cached ones that nobody else names. */
  readonly availablePages: number;
  /** Of these, pages that running sequences are expected to take yet. */
  readonly promisedPages: number;
  readonly totalPages: number;
}

export interface PlanView {
  readonly nowMs: number;
  readonly policy: Policy;
  readonly windows: Windows;
  readonly costs: StageCosts;
  /** Longest gap between two tokens of a running stream that steps of other stages may make, milliseconds. */
  readonly itlTargetMs: number;
  /** Tokens that one forward step takes. */
  readonly stepTokensMax: number;
  /** The last step that the device was given and has not ended; what is chosen follows it. */
  readonly inFlight: BatchingStage | null;
  /** A decode step is among those it was given. */
  readonly decodeInFlight: boolean;
  /** Milliseconds since the last decode step, up to the expected end of what is in flight. */
  readonly sinceDecodeMs: number;
  /** Steps of other stages begun since then. */
  readonly foreignSteps: number;
  readonly encode: StageView;
  readonly prefill: StageView<PrefillEntry>;
  readonly compress: StageView;
  /** `ready` of a static policy: the members of the batch that runs, if one does. */
  readonly decode: StageView & { readonly batchRuns: boolean };
  /** Sequences that may begin beside the running ones. */
  readonly seatsFree: number;
  readonly memory: MemoryView;
  /** Running sequences that may be compressed when memory is short, and who could be preempted; empty while it is not. */
  readonly compressible: readonly StageEntry[];
  readonly holders: readonly Holder[];
}

/** Indices are those of the view's lists. */
export type StepPlan =
  | { readonly kind: "encode" | "compress" | "decode"; readonly items: readonly number[] }
  /** chunks[i]: tokens of the i-th waiting sequence. */
  | { readonly kind: "prefill"; readonly chunks: readonly number[] }
  /** Compress running sequences to make room. */
  | { readonly kind: "shrink"; readonly items: readonly number[] }
  /** Take the pages of a holder; then choose again. */
  | { readonly kind: "preempt"; readonly holder: number }
  /** Nothing can run until something arrives or ends. */
  | { readonly kind: "idle" };

/** Why work that waits was not chosen. */
export interface Held {
  readonly stage: BatchingStage;
  readonly why: "pages" | "seats" | "latency" | "company";
  /** Pages or milliseconds that it needs, and that there are. */
  readonly needed: number;
  readonly available: number;
}

export interface Decision {
  readonly step: StepPlan;
  readonly held: readonly Held[];
}
