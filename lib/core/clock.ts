/** Time as the scheduler sees it, so that a simulation can replace it. This folder alone may call the real one. */
export interface Clock {
  /** Monotonic milliseconds from an arbitrary origin. */
  now(): number;
  /** Calls `run` once after `delayMs`; the returned function cancels it. */
  after(delayMs: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(delayMs, run) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** Wall-clock seconds since 1970, for the `created` field and log lines. */
export function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

/** ISO 8601 wall-clock time for log lines. */
export function timestamp(): string {
  return new Date().toISOString();
}

/** Resolves after `delayMs` by `clock`. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}
