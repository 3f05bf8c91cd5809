/**
 * Memory that runs short. Running sequences grow into pages that nobody promised for certain; when there are none left,
 * whoever comes last in the order of service gives its pages to whoever comes first, and computes them again later.
 * Below a watermark the caches of sequences that allow it are compressed before it comes to that.
 *
 * Nobody waits for ever: the first in the order of service can take the pages of all others, and what can never fit is
 * refused at the door, so the first ends, and then the next.
 */
import { compareRank } from "./rank.ts";
import type { Holder, PlanView, StageEntry, StepPlan } from "./plan_view.ts";

/** Below this share of the pool running sequences are compressed. */
export const LOW_WATERMARK_SHARE = 0.1;

/** What has to happen before another step makes sense, or null. */
export function relief(view: PlanView): StepPlan | null {
  const { availablePages } = view.memory;
  let free = availablePages;
  for (const claimant of claimants(view)) {
    if (claimant.pages <= free) {
      free -= claimant.pages;
      continue;
    }
    // Compression that runs gives pages back soon, and preemption costs more than the wait.
    const victim = view.inFlight === "compress" ? null : lastAfter(view.holders, claimant);
    // One that comes last itself waits until those before it end.
    if (victim !== null) return { kind: "preempt", holder: victim };
    break;
  }
  return shrink(view);
}

/** Sequences that hold pages and need more to go on, in the order of service. */
function claimants(view: PlanView): StageEntry[] {
  const growing = view.decode.ready.filter((entry) => entry.pages > 0);
  const resuming = view.prefill.ready.filter((entry) => entry.begun && entry.pages > 0);
  return [...growing, ...resuming, ...view.compress.ready].sort(compareRank);
}

/** Index of the holder to preempt for `claimant`: one that waits for its reader, else the last of those behind it. */
function lastAfter(holders: readonly Holder[], claimant: StageEntry): number | null {
  let last = -1;
  for (const [index, holder] of holders.entries()) {
    if (holder.order === claimant.order) continue;
    if (!holder.paused && compareRank(holder, claimant) < 0) continue;
    if (last < 0 || isWorse(holder, holders[last])) last = index;
  }
  return last < 0 ? null : last;
}

function isWorse(a: Holder, b: Holder): boolean {
  return a.paused === b.paused ? compareRank(a, b) > 0 : a.paused;
}

/** Below the watermark, and in a pool of few sequences at the last moment at which a copy still fits beside their growth. */
function shrink(view: PlanView): StepPlan | null {
  const { availablePages, totalPages } = view.memory;
  if (view.compressible.length === 0) return null;
  const copy = Math.min(...view.compressible.map(({ pages }) => pages));
  const growth = view.decode.ready.reduce((sum, { pages }) => sum + pages, 0);
  if (availablePages >= Math.max(LOW_WATERMARK_SHARE * totalPages, copy + growth)) return null;
  const items: number[] = [];
  let free = availablePages;
  for (const [index, entry] of view.compressible.entries()) {
    if (items.length >= view.windows.compress.items || entry.pages > free) continue;
    free -= entry.pages;
    items.push(index);
  }
  return items.length === 0 ? null : { kind: "shrink", items };
}
