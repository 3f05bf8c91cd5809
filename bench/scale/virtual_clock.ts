/** Time that moves only when it is told to, with a heap of timers: a simulation has hundreds of thousands. */
import type { Clock } from "../../lib/core/clock.ts";

interface Timer {
  readonly dueMs: number;
  /** Timers due at one instant fire in the order in which they were made. */
  readonly serial: number;
  /** null once it is cancelled. */
  run: (() => void) | null;
}

const before = (a: Timer, b: Timer): boolean =>
  a.dueMs < b.dueMs || a.dueMs === b.dueMs && a.serial < b.serial;

export class VirtualClock implements Clock {
  readonly #heap: Timer[] = [];
  #nowMs = 0;
  #serial = 0;

  now(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer: Timer = { dueMs: this.#nowMs + Math.max(0, delayMs), serial: this.#serial++, run };
    this.#push(timer);
    return () => {
      timer.run = null;
    };
  }

  /** Jumps to the next timer and fires it; false when there is none. */
  fireNext(): boolean {
    for (;;) {
      const timer = this.#pop();
      if (timer === undefined) return false;
      const { run } = timer;
      if (run === null) continue;
      this.#nowMs = Math.max(this.#nowMs, timer.dueMs);
      run();
      return true;
    }
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(timer, heap[parent])) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): Timer | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
