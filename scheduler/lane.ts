/**
 * The way to the device. Steps run one after the other; a second one may be handed over while the first runs, so that
 * the device need not wait for this thread between them.
 */
import { assert } from "../lib/core/assert.ts";
import type { Clock } from "../lib/core/clock.ts";
import type { StageCosts } from "./costs.ts";
import type { SchedulerMetrics } from "./metrics.ts";
import type { BatchingStage } from "./window.ts";

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false };
export type StepFailureReport = (stage: BatchingStage, error: unknown) => void;

/** Steps handed over at one time: one that runs and one that follows it. */
const DEPTH = 2;
/** The second one is handed over that long before the first is expected to end: until then more may come to join it. */
const AHEAD_MS = 3;

interface Step {
  readonly stage: BatchingStage;
  readonly expectedMs: number;
  readonly calledMs: number;
}

export class Lane {
  readonly #steps: Step[] = [];
  readonly #waiting: (() => void)[] = [];
  #lastEndMs = -Infinity;
  #foreignSteps = 0;

  constructor(
    private readonly clock: Clock,
    private readonly metrics: SchedulerMetrics,
    private readonly costs: StageCosts,
    private readonly onFailure: StepFailureReport,
  ) {}

  /** Milliseconds until another step may be handed over, as far as costs tell; Infinity: when one has ended. */
  opensInMs(nowMs: number): number {
    if (this.#steps.length === 0) return 0;
    return this.#steps.length < DEPTH ? Math.max(0, this.remainingMs(nowMs) - AHEAD_MS) : Infinity;
  }

  /** The step that runs or waits to run, the last one handed over. */
  get inFlight(): BatchingStage | null {
    return this.#steps.at(-1)?.stage ?? null;
  }

  /** A decode step is among those handed over. */
  get decoding(): boolean {
    return this.#steps.some(({ stage }) => stage === "decode");
  }

  /** Steps of other stages handed over since the last decode step. */
  get foreignSteps(): number {
    return this.#foreignSteps;
  }

  /** Milliseconds until the device has ended what it was given, as far as costs tell. */
  remainingMs(nowMs: number): number {
    if (this.#steps.length === 0) return 0;
    const total = this.#steps.reduce((sum, { expectedMs }) => sum + expectedMs, 0);
    const elapsed = nowMs - Math.max(this.#steps[0].calledMs, this.#lastEndMs);
    return Math.max(0, total - elapsed);
  }

  /**
   * Hands a step of `items` members and `size` units (see `StageCosts`, for decode also `slots`) over. `done` is called when it has ended, with
   * its place free again and the time at which it ended.
   */
  run<T>(
    stage: BatchingStage,
    { items, size, slots }: { items: number; size: number; slots?: number },
    call: () => Promise<T>,
    done: (outcome: Outcome<T>, endedMs: number) => void,
  ): void {
    assert(this.#steps.length < DEPTH, "few steps are handed over at one time");
    const step = { stage, expectedMs: this.costs.predict(stage, size), calledMs: this.clock.now() };
    this.#steps.push(step);
    this.#foreignSteps = stage === "decode" ? 0 : this.#foreignSteps + 1;
    this.metrics.batchItems[stage].observe(items);
    void this.#outcome(stage, call).then((outcome) => {
      assert(this.#steps.shift() === step, "steps end in the order in which they were handed over");
      const endedMs = this.clock.now();
      const ms = endedMs - Math.max(step.calledMs, this.#lastEndMs);
      this.#lastEndMs = endedMs;
      this.metrics.stepSeconds[stage].observe(ms / 1000);
      if (outcome.ok) this.costs.observe(stage, size, ms, slots);
      done(outcome, endedMs);
      if (this.#steps.length === 0) { for (const resolve of this.#waiting.splice(0)) resolve(); }
    });
  }

  /** Resolves when no step runs. */
  async idle(): Promise<void> {
    if (this.#steps.length > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async #outcome<T>(stage: BatchingStage, call: () => Promise<T>): Promise<Outcome<T>> {
    try {
      return { ok: true, value: await call() };
    } catch (error) {
      this.metrics.stepFailures[stage]++;
      this.onFailure(stage, error);
      return { ok: false };
    }
  }
}
