/** The scheduler: six actors, one lane to the device, and the function that decides what runs on it. */
import { assert } from "../lib/core/assert.ts";
import type { Clock } from "../lib/core/clock.ts";
import { RequestError } from "../lib/core/errors.ts";
import {
  DECODED_IMAGES_MAX,
  READER_TIMEOUT_MS,
  STREAM_EVENTS_MAX,
  WAITING_REQUESTS_MAX,
  WAITING_TOKENS_MAX,
} from "../lib/core/limits.ts";
import { log } from "../lib/core/log.ts";
import type { Engine } from "../lib/engine/engine.ts";
import type { ImagePreparer } from "../lib/image/image.ts";
import type { TextProcessor } from "../lib/text/text.ts";
import { checkPool, checkPoolIdle } from "../pool/integrity.ts";
import { KvPool, type Pool } from "../pool/mod.ts";
import { ActorSystem } from "./actor.ts";
import type { ModelFacts, RequestDefaults } from "./admission.ts";
import { EventChannel } from "./channel.ts";
import { Compress } from "./compress.ts";
import { StageCosts } from "./costs.ts";
import { Deadlines } from "./deadlines.ts";
import { Decode } from "./decode.ts";
import { DrainRate } from "./drain_rate.ts";
import { Emit } from "./emit.ts";
import { Encode } from "./encode.ts";
import { Intake } from "./intake.ts";
import { Lane, type StepFailureReport } from "./lane.ts";
import type { GenerateEvent, GenerateRequest, Scheduler, SchedulerSnapshot } from "./messages.ts";
import { type RefusalKind, SchedulerMetrics } from "./metrics.ts";
import { OutputLength } from "./output_length.ts";
import { PictureStore } from "./pictures.ts";
import { plan } from "./plan.ts";
import type { StepPlan } from "./plan_view.ts";
import { DYNAMIC, type Policy } from "./policy.ts";
import { Preemption } from "./preemption.ts";
import { Prefill } from "./prefill.ts";
import { ArrivalOrder } from "./rank.ts";
import { Roster } from "./roster.ts";
import { Sequence, SEQUENCE_STATES } from "./sequence.ts";
import { ACTOR_NAMES, type StageMessages, type StageParts } from "./stage.ts";
import { type PlanRecord, planRecord } from "./trace.ts";
import { type Stages, viewOf, type ViewSettings } from "./view.ts";
import type { Windows } from "./window.ts";

export type { ModelFacts, RequestDefaults } from "./admission.ts";
export { SchedulerMetrics } from "./metrics.ts";
export { defaultWindows, type WindowLimits, type Windows } from "./window.ts";

export interface SchedulerLimits {
  /** Sequences that generate at one time. */
  readonly maxNumSeqs: number;
  /** Requests that may wait beside them, and their prompt tokens. */
  readonly waitingRequestsMax?: number;
  readonly waitingTokensMax?: number;
  /** Events that may wait for a slow reader. */
  readonly streamEventsMax?: number;
  /** Pictures whose pixels may be in memory. */
  readonly decodedImagesMax?: number;
  /** Longest wait from arrival to the first pages, null for ever; and for a reader whose channel is full. */
  readonly queueTimeoutMs?: number | null;
  readonly readerTimeoutMs?: number | null;
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
  readonly policy?: Policy;
  /** Longest gap between two tokens of a stream that steps of other stages may make, milliseconds. */
  readonly itlTargetMs?: number;
  /** Made by the scheduler when absent. */
  readonly actors?: ActorSystem<StageMessages>;
  /** The memory; made for the engine when absent. */
  readonly pool?: Pool;
  /** Told of every decision, when present. */
  readonly onPlan?: (record: PlanRecord) => void;
  /** Told of every device step that failed; writes a line to the log when absent. */
  readonly onStepFailure?: StepFailureReport;
}

/** The scheduler with what it counts. */
export interface MeasuredScheduler extends Scheduler {
  readonly metrics: SchedulerMetrics;
}

/** About ten tokens a second at the least: reading speed. */
export const ITL_TARGET_MS = 100;
/** A server that shuts down is gone soon; another may answer then. */
const DRAIN_RETRY_SECONDS = 1;

const logStepFailure: StepFailureReport = (stage, error) =>
  log.error("step_failed", { stage, message: error instanceof Error ? error.message : String(error) });

/** All of the scheduler but the loop that delivers messages: a simulation delivers them itself. */
export class StagedScheduler implements MeasuredScheduler {
  readonly metrics = new SchedulerMetrics();
  readonly actors: ActorSystem<StageMessages>;
  readonly #options: SchedulerOptions;
  readonly #parts: StageParts;
  readonly #stages: Stages;
  readonly #settings: ViewSettings;
  readonly #arrivals = new ArrivalOrder();
  readonly #deadlines: Deadlines;
  readonly #waitingMax: number;
  readonly #eventsMax: number;
  readonly #drained: (() => void)[] = [];
  #draining = false;
  /** Stops the timer that looks again when the lane opens. */
  #stopTimer: () => void = () => {};

  constructor(options: SchedulerOptions) {
    const { engine, images, model, clock, limits, policy = DYNAMIC } = options;
    const { facts } = engine;
    this.actors = options.actors ?? new ActorSystem<StageMessages>(ACTOR_NAMES);
    const { send } = this.actors;
    this.#options = options;
    this.#waitingMax = limits.waitingRequestsMax ?? WAITING_REQUESTS_MAX;
    this.#eventsMax = limits.streamEventsMax ?? STREAM_EVENTS_MAX;
    assert(limits.maxNumSeqs > 0, "at least one sequence runs");
    // "admitted" and the first token come before anything asks whether there is room.
    assert(this.#eventsMax >= 2, "a stream holds two events");
    const costs = new StageCosts();
    const pool = options.pool ?? new KvPool(facts);
    const pictures = new PictureStore(facts.embeddingRows);
    this.#deadlines = new Deadlines(
      clock,
      this.metrics,
      {
        queueMs: limits.queueTimeoutMs ?? null,
        readerMs: limits.readerTimeoutMs === undefined ? READER_TIMEOUT_MS : limits.readerTimeoutMs,
      },
      (sequence, error) => send("emit", { type: "fail", sequence, error }),
    );
    const roster = new Roster(pool, pictures, this.#arrivals, this.#deadlines);
    const parts = this.#parts = {
      clock,
      engine,
      pool,
      pictures,
      roster,
      lane: new Lane(clock, this.metrics, costs, options.onStepFailure ?? logStepFailure),
      metrics: this.metrics,
      outputLength: new OutputLength(),
      costs,
      drainRate: new DrainRate(),
      send,
    };
    const encode = new Encode(parts, images, limits.decodedImagesMax ?? DECODED_IMAGES_MAX);
    const prefill = new Prefill(parts);
    const compress = new Compress(parts);
    const decode = new Decode(parts, policy.kind === "static");
    const preemption = new Preemption(parts, [prefill, compress, decode]);
    this.#stages = { encode, prefill, compress, decode, preemption };
    this.#settings = {
      policy,
      windows: options.windows,
      itlTargetMs: options.itlTargetMs ?? ITL_TARGET_MS,
      maxNumSeqs: limits.maxNumSeqs,
      costs,
    };
    this.actors.start({
      intake: new Intake(
        parts,
        { ...options, pictures, pool: pool.shape, facts },
        limits.waitingTokensMax ?? WAITING_TOKENS_MAX,
      ),
      encode,
      prefill,
      compress,
      decode,
      emit: new Emit(parts, model),
    });
    pictures.onRoom = () => send("encode", { type: "room" });
    roster.onEmpty = () => {
      for (const resolve of this.#drained.splice(0)) resolve();
    };
  }

  submit(request: GenerateRequest, signal: AbortSignal): AsyncIterableIterator<GenerateEvent> {
    this.#refuseWhatCannotWait();
    const { clock, drainRate, roster } = this.#parts;
    const cancel = () => this.#cancel(sequence);
    const channel = new EventChannel(this.#eventsMax, {
      filled: () => this.#deadlines.pauses(sequence),
      drained: () => {
        this.#deadlines.resumes(sequence);
        this.actors.wake();
      },
      returned: cancel,
    });
    const now = clock.now();
    const rank = this.#arrivals.arrive(request.tenant, request.priority, now, drainRate.intervalMs);
    const sequence = new Sequence(request, channel, now, rank);
    roster.join(sequence, () => signal.removeEventListener("abort", cancel));
    this.actors.send("intake", { type: "come", sequence });
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel, { once: true });
    return channel;
  }

  snapshot(): SchedulerSnapshot {
    const { pool, roster } = this.#parts;
    return {
      running: roster.running,
      waiting: roster.waiting,
      pagesTotal: pool.shape.pageCount,
      pagesUsed: pool.usedPages,
      largestFreeBlockPages: pool.largestFreeBlockPages,
      queues: Object.fromEntries(
        SEQUENCE_STATES.filter((state) => state !== "ended").map((state) => [state, roster.count(state)]),
      ),
      sequences: roster.size,
      paused: this.#stages.decode.paused,
      pool: pool.gauges(),
    };
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    if (this.#parts.roster.size === 0) return;
    const empty = new Promise<void>((resolve) => this.#drained.push(resolve));
    const stopTimer = this.#options.clock.after(deadlineMs, () => this.#cancelAll());
    await empty;
    stopTimer();
  }

  checkIntegrity(): void {
    const { pictures, pool, roster } = this.#parts;
    const idle = roster.size === 0;
    pictures.check(idle);
    if (idle) checkPoolIdle(pool);
    else checkPool(pool);
  }

  /** Cancels what runs, waits for the device, and stops. The engine and the image preparer belong to the caller. */
  async close(): Promise<void> {
    await this.drain(0);
    await this.#parts.lane.idle();
    this.#stopTimer();
    this.actors.stop();
  }

  /** Hands the device its next steps. Called whenever messages have changed what waits. */
  dispatch(): void {
    this.#stopTimer();
    for (;;) {
      const opensInMs = this.#parts.lane.opensInMs(this.#options.clock.now());
      if (opensInMs > 0) {
        if (opensInMs < Infinity) {
          // Timers have whole milliseconds; one that fires early would only look again.
          const delayMs = Math.ceil(opensInMs);
          this.#stopTimer = this.#options.clock.after(delayMs, () => this.actors.wake());
        }
        return;
      }
      const view = viewOf(this.#parts, this.#stages, this.#settings);
      const decision = plan(view);
      this.#options.onPlan?.(planRecord(view, decision));
      if (!this.#carryOut(decision.step)) return;
    }
  }

  /** False when there is nothing to do. */
  #carryOut(step: StepPlan): boolean {
    const { encode, prefill, compress, decode, preemption } = this.#stages;
    switch (step.kind) {
      case "encode":
        encode.begin(step.items);
        return true;
      case "prefill":
        prefill.begin(step.chunks);
        return true;
      case "compress":
        compress.begin(step.items);
        return true;
      case "decode":
        decode.begin(step.items);
        return true;
      case "shrink":
        compress.beginWith(decode.takeToCompress(step.items));
        return true;
      case "preempt":
        preemption.preempt(step.holder);
        return true;
      case "idle":
        return false;
    }
  }

  #refuseWhatCannotWait(): void {
    const { drainRate, roster } = this.#parts;
    if (this.#draining) this.#refuse("draining", "The server is shutting down.", DRAIN_RETRY_SECONDS);
    if (roster.waiting < this.#waitingMax) return;
    this.#refuse(
      "requests",
      `${this.#waitingMax} requests are waiting already. Try again later.`,
      drainRate.retryAfterSeconds(roster.waiting),
    );
  }

  #refuse(kind: RefusalKind, message: string, retryAfterSeconds: number): never {
    this.metrics.refused[kind]++;
    const code = kind === "draining" ? "draining" : "rate_limit_exceeded";
    throw new RequestError(code, message, null, retryAfterSeconds);
  }

  #cancel(sequence: Sequence): void {
    this.actors.send("emit", { type: "cancel", sequence });
  }

  #cancelAll(): void {
    for (const sequence of this.#parts.roster.sequences()) this.#cancel(sequence);
  }
}

/** Starts a scheduler. A broken assertion inside it ends the process: nothing it says would be true any more. */
export function createScheduler(options: SchedulerOptions): MeasuredScheduler {
  const scheduler = new StagedScheduler(options);
  void scheduler.actors.run(() => scheduler.dispatch());
  return scheduler;
}
