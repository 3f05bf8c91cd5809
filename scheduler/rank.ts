/**
 * The order in which sequences are served. A rank is a virtual time of arrival and never changes, so whoever waits is
 * overtaken by ever fewer of those that come later, and by none for ever:
 *
 *   rank = max(arrival, rank of the tenant's last waiting request + one drain interval) + priority · PRIORITY_STEP_MS
 *
 * The first term shares the server fairly: the requests of one tenant (an API key) stand one drain interval apart, so a
 * tenant that sends few comes between those of one that sends many. The second lets a lower priority number go ahead.
 */

/** The head start, in milliseconds of waiting, of each step of `priority`. */
export const PRIORITY_STEP_MS = 10_000;

export interface Ranked {
  readonly rankMs: number;
  /** Position in the order of arrival; settles equal ranks. */
  readonly order: number;
}

/** Negative when `a` is served before `b`. */
export function compareRank(a: Ranked, b: Ranked): number {
  return a.rankMs - b.rankMs || a.order - b.order;
}

interface TenantShare {
  waiting: number;
  lastMs: number;
}

/** Gives ranks. Remembers tenants only while requests of theirs wait. */
export class ArrivalOrder {
  readonly #tenants = new Map<string, TenantShare>();
  #arrivals = 0;

  /** `drainIntervalMs`: time between two requests that leave the queue, as measured; 0 when nothing is known. */
  arrive(tenant: string, priority: number, nowMs: number, drainIntervalMs: number): Ranked {
    let share = this.#tenants.get(tenant);
    if (share === undefined) this.#tenants.set(tenant, share = { waiting: 0, lastMs: -Infinity });
    const rankMs = Math.max(nowMs, share.lastMs + drainIntervalMs);
    share.waiting++;
    share.lastMs = rankMs;
    return { rankMs: rankMs + priority * PRIORITY_STEP_MS, order: this.#arrivals++ };
  }

  /** A request of this tenant waits no longer. */
  leave(tenant: string): void {
    const share = this.#tenants.get(tenant);
    if (share !== undefined && --share.waiting === 0) this.#tenants.delete(tenant);
  }
}
