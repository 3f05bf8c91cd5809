/** The way to the device: one engine call at a time. What runs next is decided in plan.ts. */
import { assert } from "../lib/core/assert.ts";
import type { Clock } from "../lib/core/clock.ts";
import type { SchedulerMetrics } from "./metrics.ts";
import type { BatchingStage } from "./window.ts";

/** How an engine call ended. Why it failed is for the {@link StepFailureReport} only. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false };

/** Told why a step failed. */
export type StepFailureReport = (stage: BatchingStage, error: unknown) => void;

export class Lane {
  #running: BatchingStage | null = null;
  #last: BatchingStage | null = null;
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly metrics: SchedulerMetrics,
    private readonly onFailure: StepFailureReport,
  ) {}

  get busy(): boolean {
    return this.#running !== null;
  }

  /** The step that ran last or runs now. */
  get last(): BatchingStage | null {
    return this.#last;
  }

  /** Starts a step of `items` members. `done` is called when it has ended, with the lane free again. */
  run<T>(
    stage: BatchingStage,
    items: number,
    call: () => Promise<T>,
    done: (outcome: Outcome<T>) => void,
  ): void {
    assert(this.#running === null, "one step runs at a time");
    this.#running = stage;
    this.#last = stage;
    this.metrics.batchItems[stage].observe(items);
    void this.#outcome(stage, call).then((outcome) => {
      this.#running = null;
      done(outcome);
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
  }

  /** Resolves when no step runs. */
  async idle(): Promise<void> {
    if (this.busy) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async #outcome<T>(stage: BatchingStage, call: () => Promise<T>): Promise<Outcome<T>> {
    const begun = this.clock.now();
    try {
      const value = await call();
      return { ok: true, value };
    } catch (error) {
      this.metrics.stepFailures[stage]++;
      this.onFailure(stage, error);
      return { ok: false };
    } finally {
      this.metrics.stepSeconds[stage].observe((this.clock.now() - begun) / 1000);
    }
  }
}
