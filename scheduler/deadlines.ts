/** How long a request may wait in the queue, and for its reader. Past it the request fails and gives back what it holds. */
import type { Clock } from "../lib/core/clock.ts";
import { RequestError } from "../lib/core/errors.ts";
import type { SchedulerMetrics } from "./metrics.ts";
import type { Sequence } from "./sequence.ts";

export interface DeadlineLimits {
  /** From arrival to the first pages; null: for ever. */
  readonly queueMs: number | null;
  /** With a full channel that nobody reads; null: for ever. */
  readonly readerMs: number | null;
}

interface Pause {
  readonly sinceMs: number;
  readonly stop: () => void;
}

export class Deadlines {
  readonly #queued = new Map<Sequence, () => void>();
  readonly #paused = new Map<Sequence, Pause>();

  constructor(
    private readonly clock: Clock,
    private readonly metrics: SchedulerMetrics,
    private readonly limits: DeadlineLimits,
    private readonly fail: (sequence: Sequence, error: RequestError) => void,
  ) {}

  /** It waits in the queue from now on. */
  waits(sequence: Sequence): void {
    const { queueMs } = this.limits;
    if (queueMs === null) return;
    const expired = () => {
      this.#queued.delete(sequence);
      const seconds = queueMs / 1000;
      this.fail(
        sequence,
        new RequestError(
          "queue_timeout",
          `The request waited in the queue for ${seconds} s without room for it.`,
        ),
      );
    };
    this.#queued.set(sequence, this.clock.after(queueMs, expired));
  }

  begun(sequence: Sequence): void {
    this.#queued.get(sequence)?.();
    this.#queued.delete(sequence);
  }

  /** Its channel is full. */
  pauses(sequence: Sequence): void {
    if (this.#paused.has(sequence)) return;
    const { readerMs } = this.limits;
    const expired = () => {
      const seconds = readerMs! / 1000;
      this.fail(sequence, new RequestError("reader_timeout", `Nobody has read the answer for ${seconds} s.`));
    };
    const stop = readerMs === null ? () => {} : this.clock.after(readerMs, expired);
    this.#paused.set(sequence, { sinceMs: this.clock.now(), stop });
    this.metrics.readerPauses++;
  }

  /** Its channel has room again. */
  resumes(sequence: Sequence): void {
    const pause = this.#paused.get(sequence);
    if (pause === undefined) return;
    pause.stop();
    this.#paused.delete(sequence);
    this.metrics.readerPauseSeconds.observe((this.clock.now() - pause.sinceMs) / 1000);
  }

  left(sequence: Sequence): void {
    this.begun(sequence);
    this.resumes(sequence);
  }
}
