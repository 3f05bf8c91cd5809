/** Virtual time: it stands still until a test moves it. */
import type { Clock } from "../../lib/core/clock.ts";

interface Timer {
  readonly dueMs: number;
  readonly run: () => void;
}

export class ManualClock implements Clock {
  #nowMs = 0;
  /** In the order in which they were made: timers due at one instant fire in that order. */
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { dueMs: this.#nowMs + delayMs, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Jumps to the next timer and fires it; false when there is none. */
  fireNext(): boolean {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (next === undefined || timer.dueMs < next.dueMs) next = timer;
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#nowMs = Math.max(this.#nowMs, next.dueMs);
    next.run();
    return true;
  }

  /** Moves time on and fires what falls due, in order. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    while ([...this.#timers].some((timer) => timer.dueMs <= untilMs)) this.fireNext();
    this.#nowMs = untilMs;
  }
}
