/** The events of one request on their way to whoever asked: bounded, one reader, one terminal event. */
import { assert } from "../lib/core/assert.ts";
import type { GenerateEvent } from "./messages.ts";

export interface ChannelObserver {
  /** It holds as many events as it may: its reader is slow. */
  filled(): void;
  /** A channel that was full has room again. */
  drained(): void;
  /** The reader went away before the terminal event. */
  returned(): void;
}

type Result = IteratorResult<GenerateEvent>;
const DONE: Result = { done: true, value: undefined };

export class EventChannel implements AsyncIterableIterator<GenerateEvent> {
  readonly #events: GenerateEvent[] = [];
  readonly #readers: ((result: Result) => void)[] = [];
  /** Nothing comes after what is queued. */
  #ended = false;
  #returned = false;

  constructor(private readonly eventsMax: number, private readonly observer: ChannelObserver) {}

  /** The reader is slow: its sequence gets no further token until some are read. */
  get full(): boolean {
    return this.#events.length >= this.eventsMax;
  }

  /** Adds an event. The terminal one always fits. */
  push(event: GenerateEvent): void {
    assert(!this.#ended, "nothing follows the terminal event");
    const terminal = event.type === "finished" || event.type === "cancelled" || event.type === "failed";
    assert(terminal || !this.full, "a sequence whose channel is full makes no token");
    this.#ended = terminal;
    if (this.#returned) return;
    const reader = this.#readers.shift();
    if (reader === undefined) this.#events.push(event);
    else reader({ done: false, value: event });
    if (!terminal && this.full) this.observer.filled();
    if (terminal) { for (const late of this.#readers.splice(0)) late(DONE); }
  }

  next(): Promise<Result> {
    if (this.#events.length > 0) {
      const wasFull = this.full;
      const value = this.#events.shift()!;
      if (wasFull) this.observer.drained();
      return Promise.resolve({ done: false, value });
    }
    if (this.#ended || this.#returned) return Promise.resolve(DONE);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return(): Promise<Result> {
    if (!this.#returned) {
      this.#returned = true;
      this.#events.length = 0;
      for (const reader of this.#readers.splice(0)) reader(DONE);
      if (!this.#ended) this.observer.returned();
    }
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
