/** The scheduler: six actors, one lane to the device, and the function that decides what runs on it. */
import { assert } from "../lib/core/assert.ts";
import type { Clock } from "../lib/core/clock.ts";
import { RequestError } from "../lib/core/errors.ts";
import { DECODED_IMAGES_MAX, STREAM_EVENTS_MAX, WAITING_REQUESTS_MAX } from "../lib/core/limits.ts";
import { log } from "../lib/core/log.ts";
import type { Engine } from "../lib/engine/engine.ts";
import type { ImagePreparer } from "../lib/image/image.ts";
import type { TextProcessor } from "../lib/text/text.ts";
import { checkPool, checkPoolIdle } from "../pool/integrity.ts";
import { KvPool } from "../pool/mod.ts";
import { ActorSystem } from "./actor.ts";
import type { ModelFacts, RequestDefaults } from "./admission.ts";
import { EventChannel } from "./channel.ts";
import { Compress } from "./compress.ts";
import { Decode } from "./decode.ts";
import { Emit } from "./emit.ts";
import { Encode } from "./encode.ts";
import { Intake } from "./intake.ts";
import { Lane, type StepFailureReport } from "./lane.ts";
import type { GenerateEvent, GenerateRequest, Scheduler, SchedulerSnapshot } from "./messages.ts";
import { SchedulerMetrics } from "./metrics.ts";
import { PictureStore } from "./pictures.ts";
import { plan, type PlanView } from "./plan.ts";
import { Prefill } from "./prefill.ts";
import { Roster } from "./roster.ts";
import { Sequence, SEQUENCE_STATES } from "./sequence.ts";
import { ACTOR_NAMES, type StageMessages, type StageParts } from "./stage.ts";
import type { Windows } from "./window.ts";

export type { ModelFacts, RequestDefaults } from "./admission.ts";
export { SchedulerMetrics } from "./metrics.ts";
export { defaultWindows, type WindowLimits, type Windows } from "./window.ts";

export interface SchedulerLimits {
  /** Sequences that generate at one time. */
  readonly maxNumSeqs: number;
  /** Requests that may wait beside them. */
  readonly waitingRequestsMax?: number;
  /** Events that may wait for a slow reader. */
  readonly streamEventsMax?: number;
  /** Pictures whose pixels may be in memory. */
  readonly decodedImagesMax?: number;
}

export interface SchedulerOptions {
  readonly engine: Engine;
  readonly text: TextProcessor;
  readonly images: ImagePreparer;
  readonly model: ModelFacts;
  readonly defaults: RequestDefaults;
  readonly windows: Windows;
  readonly limits: SchedulerLimits;
  readonly clock: Clock;
  /** Told of every device step that failed; writes a line to the log when absent. */
  readonly onStepFailure?: StepFailureReport;
}

/** The scheduler with what it counts. */
export interface MeasuredScheduler extends Scheduler {
  readonly metrics: SchedulerMetrics;
}

/** When a client that was refused may come again. A place is free as soon as one request ends. */
const RETRY_AFTER_SECONDS = 1;

const logStepFailure: StepFailureReport = (stage, error) =>
  log.error("step_failed", { stage, message: error instanceof Error ? error.message : String(error) });

/** All of the scheduler but the loop that delivers messages: a simulation delivers them itself. */
export class StagedScheduler implements MeasuredScheduler {
  readonly metrics = new SchedulerMetrics();
  readonly actors = new ActorSystem<StageMessages>(ACTOR_NAMES);
  readonly #options: SchedulerOptions;
  readonly #pool: KvPool;
  readonly #pictures: PictureStore;
  readonly #roster: Roster;
  readonly #lane: Lane;
  readonly #encode: Encode;
  readonly #prefill: Prefill;
  readonly #compress: Compress;
  readonly #decode: Decode;
  readonly #waitingMax: number;
  readonly #eventsMax: number;
  readonly #drained: (() => void)[] = [];
  #draining = false;
  #cancelTimer: (() => void) | null = null;

  constructor(options: SchedulerOptions) {
    const { engine, images, model, clock, limits } = options;
    const { facts } = engine;
    this.#options = options;
    this.#waitingMax = limits.waitingRequestsMax ?? WAITING_REQUESTS_MAX;
    this.#eventsMax = limits.streamEventsMax ?? STREAM_EVENTS_MAX;
    assert(limits.maxNumSeqs > 0, "at least one sequence runs");
    // "admitted" and the first token come before anything asks whether there is room.
    assert(this.#eventsMax >= 2, "a stream holds two events");
    this.#pool = new KvPool(facts);
    this.#pictures = new PictureStore(facts.embeddingRows);
    this.#roster = new Roster(this.#pool, this.#pictures);
    this.#lane = new Lane(clock, this.metrics, options.onStepFailure ?? logStepFailure);
    const parts: StageParts = {
      clock,
      engine,
      pool: this.#pool,
      pictures: this.#pictures,
      roster: this.#roster,
      lane: this.#lane,
      metrics: this.metrics,
      send: this.actors.send,
    };
    this.#encode = new Encode(parts, images, limits.decodedImagesMax ?? DECODED_IMAGES_MAX);
    this.#prefill = new Prefill(parts);
    this.#compress = new Compress(parts);
    this.#decode = new Decode(parts);
    this.actors.start({
      intake: new Intake(parts, { ...options, pictures: this.#pictures, pool: this.#pool.shape }),
      encode: this.#encode,
      prefill: this.#prefill,
      compress: this.#compress,
      decode: this.#decode,
      emit: new Emit(parts, model),
    });
    this.#pictures.onRoom = () => this.actors.send("encode", { type: "room" });
    this.#roster.onEmpty = () => {
      for (const resolve of this.#drained.splice(0)) resolve();
    };
  }

  submit(request: GenerateRequest, signal: AbortSignal): AsyncIterableIterator<GenerateEvent> {
    this.#refuseWhatCannotWait();
    const cancel = () => this.#cancel(sequence);
    const channel = new EventChannel(this.#eventsMax, {
      drained: () => this.actors.wake(),
      returned: cancel,
    });
    const sequence = new Sequence(request, channel, this.#options.clock.now());
    this.#roster.join(sequence, () => signal.removeEventListener("abort", cancel));
    this.actors.send("intake", { type: "come", sequence });
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    return channel;
  }

  snapshot(): SchedulerSnapshot {
    const running = this.#roster.running;
    return {
      running,
      waiting: this.#roster.size - running,
      pagesTotal: this.#pool.shape.pageCount,
      pagesUsed: this.#pool.usedPages,
      largestFreeBlockPages: this.#pool.largestFreeBlockPages,
      queues: Object.fromEntries(
        SEQUENCE_STATES.filter((state) => state !== "ended").map((
          state,
        ) => [state, this.#roster.count(state)]),
      ),
      sequences: this.#roster.size,
    };
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    if (this.#roster.size === 0) return;
    const empty = new Promise<void>((resolve) => this.#drained.push(resolve));
    const stopTimer = this.#options.clock.after(deadlineMs, () => this.#cancelAll());
    await empty;
    stopTimer();
  }

  checkIntegrity(): void {
    const idle = this.#roster.size === 0;
    this.#pictures.check(idle);
    if (idle) checkPoolIdle(this.#pool);
    else checkPool(this.#pool);
  }

  /** Cancels what runs, waits for the device, and stops. The engine and the image preparer belong to the caller. */
  async close(): Promise<void> {
    await this.drain(0);
    await this.#lane.idle();
    this.#cancelTimer?.();
    this.actors.stop();
  }

  /** Starts the next device step if there is one. Called whenever messages have changed what waits. */
  dispatch(): void {
    if (this.#lane.busy) return;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    const view = this.#view();
    const next = plan(view);
    switch (next.kind) {
      case "encode":
        return this.#encode.begin(next.items);
      case "prefill":
        return this.#prefill.begin(next.chunks);
      case "compress":
        return this.#compress.begin(next.items);
      case "decode":
        return this.#decode.begin(next.items);
      case "wait": {
        // Timers have whole milliseconds; one that fires early would only look again.
        const delayMs = Math.max(1, Math.ceil(next.untilMs - view.nowMs));
        this.#cancelTimer = this.#options.clock.after(delayMs, () => this.actors.wake());
        return;
      }
      case "idle":
        return;
    }
  }

  #view(): PlanView {
    const { clock, engine, limits, windows } = this.#options;
    const intake = this.#roster.count("intake") > 0;
    const encode = this.#roster.count("encode") > 0;
    const prefill = this.#prefill.waiting();
    const paused = this.#decode.paused;
    return {
      nowMs: clock.now(),
      last: this.#lane.last,
      windows,
      stepTokensMax: engine.facts.stepTokensMax,
      encode: { ready: this.#encode.ready(), company: intake || this.#encode.company },
      prefill: { ready: prefill, company: intake || encode },
      compress: { ready: this.#compress.ready(), company: prefill.some((entry) => entry.quotaPages === 0) },
      decode: { ready: this.#decode.ready(), company: false },
      // A sequence that waits for its reader holds its pages but not its seat.
      seatsFree: limits.maxNumSeqs - (this.#roster.running - paused),
      pagesFree: this.#pool.unpromisedPages,
    };
  }

  #refuseWhatCannotWait(): void {
    if (this.#draining) {
      this.metrics.refused++;
      throw new RequestError("draining", "The server is shutting down.", null, RETRY_AFTER_SECONDS);
    }
    if (this.#roster.size - this.#roster.running < this.#waitingMax) return;
    this.metrics.refused++;
    throw new RequestError(
      "rate_limit_exceeded",
      `${this.#waitingMax} requests are waiting already. Try again later.`,
      null,
      RETRY_AFTER_SECONDS,
    );
  }

  #cancel(sequence: Sequence): void {
    this.actors.send("emit", { type: "cancel", sequence });
  }

  #cancelAll(): void {
    for (const sequence of this.#roster.sequences()) this.#cancel(sequence);
  }
}

/** Starts a scheduler. A broken assertion inside it ends the process: nothing it says would be true any more. */
export function createScheduler(options: SchedulerOptions): MeasuredScheduler {
  const scheduler = new StagedScheduler(options);
  void scheduler.actors.run(() => scheduler.dispatch());
  return scheduler;
}
