/** How quickly requests leave: what a refused client is told, and how far apart a tenant's requests stand. */

/** Weight of the newest gap in the moving average. */
const NEWEST_SHARE = 0.1;
const RETRY_SECONDS_MAX = 60;

export class DrainRate {
  #lastMs: number | null = null;
  #intervalMs = 0;

  /** A request has ended. `busy`: others wait behind it; without them the gap says nothing of the server's speed. */
  ended(nowMs: number, busy: boolean): void {
    if (busy && this.#lastMs !== null) {
      const gap = nowMs - this.#lastMs;
      this.#intervalMs += (this.#intervalMs === 0 ? 1 : NEWEST_SHARE) * (gap - this.#intervalMs);
    }
    this.#lastMs = busy ? nowMs : null;
  }

  /** Milliseconds between two requests that leave, 0 while nothing is known. */
  get intervalMs(): number {
    return this.#intervalMs;
  }

  /** Whole seconds in which the requests that wait now will have gone: 1 to 60. */
  retryAfterSeconds(waiting: number): number {
    const seconds = Math.ceil(waiting * this.#intervalMs / 1000);
    return Math.min(RETRY_SECONDS_MAX, Math.max(1, seconds));
  }
}
