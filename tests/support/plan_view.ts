/** Views for tests of the plan: an idle device with an empty queue and a large pool; override what a test is about. */
import { StageCosts } from "../../scheduler/costs.ts";
import type { Holder, PlanView, PrefillEntry, StageEntry } from "../../scheduler/plan_view.ts";
import { DYNAMIC } from "../../scheduler/policy.ts";
import { defaultWindows } from "../../scheduler/window.ts";

export const NOW_MS = 1_000;

/** Work that came at `order` milliseconds and waits since then. */
export function entryOf(order: number, fields: Partial<StageEntry> = {}): StageEntry {
  return { rankMs: order, order, sinceMs: order, tokens: 1, pages: 0, ...fields };
}

/** A prompt of sixteen tokens that has not begun. */
export function promptOf(order: number, fields: Partial<PrefillEntry> = {}): PrefillEntry {
  return { ...entryOf(order), tokens: 16, pages: 4, pagesLater: 0, begun: false, ...fields };
}

export function holderOf(order: number, fields: Partial<Holder> = {}): Holder {
  return { rankMs: order, order, pages: 4, paused: false, ...fields };
}

/** `count` entries in the order of service. */
export function entries(count: number, fields: Partial<StageEntry> = {}): StageEntry[] {
  return Array.from({ length: count }, (_, order) => entryOf(order, fields));
}

/** `count` prompts in the order of service. */
export function prompts(count: number, fields: Partial<PrefillEntry> = {}): PrefillEntry[] {
  return Array.from({ length: count }, (_, order) => promptOf(order, fields));
}

export function planView(fields: Partial<PlanView> = {}): PlanView {
  return {
    nowMs: NOW_MS,
    policy: DYNAMIC,
    windows: defaultWindows(32, 4096, false),
    costs: new StageCosts(),
    itlTargetMs: 100,
    stepTokensMax: 4096,
    inFlight: null,
    decodeInFlight: false,
    sinceDecodeMs: 0,
    foreignSteps: 0,
    encode: { ready: [], company: false },
    prefill: { ready: [], company: false },
    compress: { ready: [], company: false },
    decode: { ready: [], company: false, batchRuns: false },
    seatsFree: 32,
    memory: { availablePages: 1000, promisedPages: 0, totalPages: 1000 },
    compressible: [],
    holders: [],
    ...fields,
  };
}
