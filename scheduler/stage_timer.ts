/** How long a sequence worked and waited in each stage. */
import { assert } from "../lib/core/assert.ts";
import type { StageTimings } from "./messages.ts";
import type { TimedStage } from "./metrics.ts";

interface Visit {
  waitMs: number;
  runMs: number;
}

export class StageTimer {
  readonly #visits = new Map<TimedStage, Visit>();
  #visit: Visit | null = null;
  #sinceMs = 0;
  /** Pieces of work under way; several pictures of one sequence may be worked on at a time. */
  #running = 0;

  /** Leaves the stage before, if any. A stage that is entered again goes on counting. */
  enter(stage: TimedStage, nowMs: number): void {
    this.leave(nowMs);
    let visit = this.#visits.get(stage);
    if (visit === undefined) this.#visits.set(stage, visit = { waitMs: 0, runMs: 0 });
    this.#visit = visit;
  }

  /** A piece of this stage's work begins. */
  begin(nowMs: number): void {
    this.#count(nowMs);
    this.#running++;
  }

  end(nowMs: number): void {
    assert(this.#running > 0, "work that ends has begun");
    this.#count(nowMs);
    this.#running--;
  }

  /** Nothing is counted until the next stage. Work under way is cut off. */
  leave(nowMs: number): void {
    this.#count(nowMs);
    this.#visit = null;
    this.#running = 0;
  }

  visits(): Iterable<readonly [TimedStage, Readonly<Visit>]> {
    return this.#visits;
  }

  timings(): StageTimings {
    const timings: StageTimings = {};
    for (const [stage, { waitMs, runMs }] of this.#visits) {
      timings[stage] = { wait_ms: waitMs, run_ms: runMs };
    }
    return timings;
  }

  #count(nowMs: number): void {
    if (this.#visit !== null) {
      this.#visit[this.#running > 0 ? "runMs" : "waitMs"] += nowMs - this.#sinceMs;
    }
    this.#sinceMs = nowMs;
  }
}
