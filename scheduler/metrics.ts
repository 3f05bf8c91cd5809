/** What the scheduler counts. Plain numbers and histograms; the API turns them into Prometheus' words. */
import { ShadowRecord } from "./shadow_record.ts";
import { Histogram } from "../lib/core/metrics.ts";
import { BATCHING_STAGES, type BatchingStage } from "./window.ts";

/** The stages whose time is told to clients. */
export const TIMED_STAGES = ["intake", ...BATCHING_STAGES] as const;
export type TimedStage = typeof TIMED_STAGES[number];

export const FINISH_KINDS = ["stop", "length", "cancelled", "failed"] as const;
export type FinishKind = typeof FINISH_KINDS[number];

export const REFUSAL_KINDS = ["requests", "tokens", "draining"] as const;
export type RefusalKind = typeof REFUSAL_KINDS[number];

/** Bounds in seconds, finer where an edge device lives. */
const LATENCY_BOUNDS = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  120,
  300,
];
const BATCH_BOUNDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

function each<Name extends string, Value>(names: readonly Name[], make: () => Value): Record<Name, Value> {
  return Object.fromEntries(names.map((name) => [name, make()])) as Record<Name, Value>;
}

export class SchedulerMetrics {
  /** Arrival to the first non-empty text, queueing included, seconds. */
  readonly ttft = new Histogram(LATENCY_BOUNDS);
  /** Gap between two tokens of a completion, seconds. */
  readonly itl = new Histogram(LATENCY_BOUNDS);
  /** Arrival to the terminal event of finished requests, seconds. */
  readonly endToEnd = new Histogram(LATENCY_BOUNDS);
  /** Time in each stage and before it, seconds, of every request that has left the stage for good. */
  readonly stageWait: Readonly<Record<TimedStage, Histogram>> = each(
    TIMED_STAGES,
    () => new Histogram(LATENCY_BOUNDS),
  );
  readonly stageRun: Readonly<Record<TimedStage, Histogram>> = each(
    TIMED_STAGES,
    () => new Histogram(LATENCY_BOUNDS),
  );
  /** From asking for a picture's pixels until they are there, seconds; a wait for the decoding thread included. */
  readonly pictureSeconds = new Histogram(LATENCY_BOUNDS);
  /** Members of each device step. */
  readonly batchItems: Readonly<Record<BatchingStage, Histogram>> = each(
    BATCHING_STAGES,
    () => new Histogram(BATCH_BOUNDS),
  );
  /** Duration of each device step, seconds. */
  readonly stepSeconds: Readonly<Record<BatchingStage, Histogram>> = each(
    BATCHING_STAGES,
    () => new Histogram(LATENCY_BOUNDS),
  );
  /** Device steps that the engine did not complete. */
  readonly stepFailures: Record<BatchingStage, number> = each(BATCHING_STAGES, () => 0);
  readonly finished: Record<FinishKind, number> = each(FINISH_KINDS, () => 0);
  /** Requests refused before they waited: by the number of waiting ones, by their tokens, by a server that drains. */
  readonly refused: Record<RefusalKind, number> = each(REFUSAL_KINDS, () => 0);
  /** Sequences whose pages were taken for others, and sequences that came back from it. */
  preempted = 0;
  resumed = 0;
  /** Caches written shorter, counted when they are; of these, because memory was short, and because it was expected to pay. */
  compressed = 0;
  shrunk = 0;
  paid = 0;
  /** Times that a stream waited for its reader, and how long, seconds. */
  readerPauses = 0;
  readonly readerPauseSeconds = new Histogram(LATENCY_BOUNDS);
  promptTokens = 0;
  generatedTokens = 0;
  /** Pictures that went through the tower, and uses of features that were already there. */
  encodedImages = 0;
  sharedImages = 0;
  /** Answers with and without compression, compared. */
  readonly shadow = new ShadowRecord();
}
