/**
 * The largest batch of each stage that fits now: X prompts, Y compressions, Z sequences of the paper, counted exactly
 * instead of by averages. Every list is in the order of service, and none is overtaken by one behind it: whoever needs
 * many pages gets them when those before it end.
 */
import type { Held, MemoryView, PlanView, PrefillEntry, StageEntry } from "./plan_view.ts";
import { compareRank } from "./rank.ts";
import type { BatchingStage } from "./window.ts";

export interface Batch {
  /** Members; always the first ones of the list. */
  readonly items: number;
  /** Pictures, tokens, slots or sequences, as `StageCosts` counts them. */
  readonly size: number;
  /** More of what waits would not have fitted the limits. */
  readonly full: boolean;
  /** Since when its first member waits. */
  readonly sinceMs: number;
}

export interface PrefillBatch extends Batch {
  readonly chunks: readonly number[];
}

export interface BatchLimits {
  readonly items: number;
  readonly tokens: number;
}

/** Pictures for the tower. `size` counts pictures. */
export function encodeBatch(ready: readonly StageEntry[], limits: BatchLimits): Batch | null {
  const { items, full } = fill(ready, limits, Infinity);
  return items === 0 ? null : { items, size: items, full, sinceMs: ready[0].sinceMs };
}

/** Caches to compress, while there are pages for their copies. `size` counts slots. */
export function compressBatch(
  ready: readonly StageEntry[],
  limits: BatchLimits,
  pages: number,
  held: Held[],
): Batch | null {
  const { items, tokens, full } = fill(ready, limits, pages);
  if (items < ready.length && ready[items].pages > pages) {
    held.push({ stage: "compress", why: "pages", needed: ready[items].pages, available: pages });
  }
  return items === 0 ? null : { items, size: tokens, full, sinceMs: ready[0].sinceMs };
}

/** Whole prompts or chunks. Those that begin leave the pages that running sequences are expected to take. */
export function prefillBatch(view: PlanView, limits: BatchLimits, held: Held[]): PrefillBatch | null {
  const { ready } = view.prefill;
  let { availablePages: available, promisedPages: promised } = view.memory;
  let { seatsFree } = view;
  let tokens = 0;
  const chunks: number[] = [];
  const tokensMax = Math.max(1, Math.min(limits.tokens, view.stepTokensMax));
  while (chunks.length < ready.length && chunks.length < limits.items && tokens < tokensMax) {
    const entry = ready[chunks.length];
    const why = entry.begun
      ? cannotGoOn(entry, available)
      : cannotBegin(entry, available, promised, seatsFree, view.memory);
    if (why !== null) {
      held.push(why);
      break;
    }
    available -= entry.pages;
    promised += entry.pagesLater;
    if (!entry.begun) seatsFree--;
    const chunk = Math.min(entry.tokens, tokensMax - tokens);
    chunks.push(chunk);
    tokens += chunk;
  }
  if (chunks.length === 0) return null;
  const full = tokens >= tokensMax || chunks.length >= limits.items;
  return { items: chunks.length, chunks, size: tokens, full, sinceMs: ready[0].sinceMs };
}

/** Pages that are promised to it were promised by counting; what counts now is that they are there. */
function cannotGoOn({ pages }: PrefillEntry, available: number): Held | null {
  return pages <= available ? null : { stage: "prefill", why: "pages", needed: pages, available };
}

/** A pool that nobody else uses takes any request that came through the door, whatever is expected of it. */
function cannotBegin(
  entry: PrefillEntry,
  available: number,
  promised: number,
  seatsFree: number,
  { totalPages }: MemoryView,
): Held | null {
  if (seatsFree < 1) return { stage: "prefill", why: "seats", needed: 1, available: 0 };
  if (available === totalPages) return null;
  const needed = entry.pages + entry.pagesLater, free = Math.max(0, available - promised);
  return needed <= free ? null : { stage: "prefill", why: "pages", needed, available: free };
}

/** Indices of the sequences that get a token: those whose next slot has a page or can get one, by rank. */
export function decodeBatch(
  ready: readonly StageEntry[],
  limits: BatchLimits,
  pages: number,
  held: Held[],
): number[] {
  const most = Math.min(limits.items, limits.tokens);
  const items: number[] = [];
  let free = pages, needed = 0;
  for (const index of servedOrder(ready, pages)) {
    const entry = ready[index];
    if (items.length >= most) break;
    if (entry.pages > free) {
      needed += entry.pages;
      continue;
    }
    free -= entry.pages;
    items.push(index);
  }
  if (needed > 0) held.push({ stage: "decode", why: "pages", needed, available: free });
  return items;
}

/** As they stand; by rank where there are not pages for all. */
function servedOrder(ready: readonly StageEntry[], pages: number): number[] {
  const order = ready.map((_, index) => index);
  const needed = ready.reduce((sum, entry) => sum + entry.pages, 0);
  return needed <= pages ? order : order.sort((a, b) => compareRank(ready[a], ready[b]));
}

/** The first members until items, tokens or pages run out; one may exceed the tokens alone. */
function fill(
  entries: readonly StageEntry[],
  limits: BatchLimits,
  pages: number,
): { items: number; tokens: number; full: boolean } {
  let items = 0, tokens = 0, free = pages;
  while (items < entries.length && items < limits.items) {
    const entry = entries[items];
    if (entry.pages > free) return { items, tokens, full: true };
    if (tokens + entry.tokens > limits.tokens && items > 0) return { items, tokens, full: true };
    tokens += entry.tokens;
    free -= entry.pages;
    items++;
  }
  return { items, tokens, full: items >= limits.items || tokens >= limits.tokens };
}

/** The picture that is served first belongs to a request that comes before all that wait for prefill. */
export function pictureFirst({ encode, prefill }: PlanView): boolean {
  const [picture] = encode.ready, [prompt] = prefill.ready;
  return picture !== undefined && prompt !== undefined && compareRank(picture, prompt) < 0;
}

/** A batch that is not full waits for company as long as its window says, while the device has something else to do. */
export function released(view: PlanView, stage: BatchingStage, batch: Batch): boolean {
  return batch.full || !view[stage].company || view.nowMs - batch.sinceMs >= view.windows[stage].waitMs;
}
