/** `GET /metrics`: what the scheduler counts, in Prometheus' words, read at the moment of the scrape. */
import { Counter, Gauge, Registry } from "prom-client";
import type { Histogram } from "../core/metrics.ts";
import type { SchedulerSnapshot } from "../../scheduler/messages.ts";
import type { SchedulerMetrics } from "../../scheduler/metrics.ts";
import type { AccessRecord } from "./access_log.ts";
import { type Labels, ReadHistogram } from "./read_histogram.ts";
import type { Service } from "./service.ts";

interface ServerMetrics {
  /** Counts one answered request. */
  countRequest(record: AccessRecord): void;
  /** The text that Prometheus reads. */
  answer(): Promise<Response>;
}

/** Before the model is loaded nothing runs and nothing is held. */
const NOTHING: SchedulerSnapshot = {
  running: 0,
  waiting: 0,
  pagesTotal: 0,
  pagesUsed: 0,
  largestFreeBlockPages: 0,
  queues: {},
  sequences: 0,
};

export function createMetrics(service: Service): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const snapshot = () => service.loaded?.scheduler.snapshot() ?? NOTHING;
  const usedShare = ({ pagesTotal, pagesUsed }: SchedulerSnapshot) =>
    pagesTotal === 0 ? 0 : pagesUsed / pagesTotal;

  function gauge(name: string, help: string, read: (now: SchedulerSnapshot) => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(snapshot()));
      },
    });
  }

  /** A counter that is kept elsewhere, one value a set of labels. */
  function counter(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: (metrics: SchedulerMetrics) => Iterable<readonly [Labels, number]>,
  ): void {
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        const metrics = service.loaded?.scheduler.metrics;
        if (metrics !== undefined) { for (const [labels, value] of read(metrics)) this.inc(labels, value); }
      },
    });
  }

  function histogram(
    name: string,
    help: string,
    read: (metrics: SchedulerMetrics) => Iterable<readonly [Labels, Histogram]>,
  ): void {
    new ReadHistogram(registry, name, help, () => {
      const metrics = service.loaded?.scheduler.metrics;
      return metrics === undefined ? [] : read(metrics);
    });
  }

  gauge("fastcache_requests_running", "Requests whose prefill or decode has begun.", (now) => now.running);
  gauge("fastcache_requests_waiting", "Requests that are prepared or wait for room.", (now) => now.waiting);
  gauge("fastcache_sequences", "Sequences that hold anything at all.", (now) => now.sequences);
  gauge("fastcache_kv_pages", "Pages of the KV pool.", (now) => now.pagesTotal);
  gauge("fastcache_kv_pages_used", "Pages that sequences hold.", (now) => now.pagesUsed);
  gauge(
    "fastcache_kv_largest_free_block_pages",
    "Pages of the largest block that could be had at once.",
    (now) => now.largestFreeBlockPages,
  );
  new Gauge({
    name: "fastcache_stage_queue",
    help: "Sequences that wait in a stage's queue.",
    labelNames: ["stage"],
    registers,
    collect() {
      for (const [stage, length] of Object.entries(snapshot().queues)) this.set({ stage }, length);
    },
  });
  // Routers and autoscalers look for these names.
  gauge("vllm:num_requests_running", "Requests whose prefill or decode has begun.", (now) => now.running);
  gauge("vllm:num_requests_waiting", "Requests that are prepared or wait for room.", (now) => now.waiting);
  gauge("vllm:kv_cache_usage_perc", "Share of the KV pool in use, 0 to 1.", usedShare);

  const alone = <T>(value: T): [[Labels, T]] => [[{}, value]];
  const by = <T>(label: string, values: Readonly<Record<string, T>>): [Labels, T][] =>
    Object.entries(values).map(([key, value]) => [{ [label]: key }, value]);

  histogram(
    "fastcache_time_to_first_token_seconds",
    "From arrival to the first text that leaves, queueing included.",
    (metrics) => alone(metrics.ttft),
  );
  histogram(
    "fastcache_inter_token_latency_seconds",
    "Gaps between the tokens of a request.",
    (metrics) => alone(metrics.itl),
  );
  histogram(
    "fastcache_request_seconds",
    "From arrival to the end of a finished request.",
    (metrics) => alone(metrics.endToEnd),
  );
  histogram(
    "fastcache_stage_wait_seconds",
    "Time of a request in the queue before a stage.",
    (metrics) => by("stage", metrics.stageWait),
  );
  histogram(
    "fastcache_stage_run_seconds",
    "Time of a request in a stage.",
    (metrics) => by("stage", metrics.stageRun),
  );
  histogram(
    "fastcache_step_seconds",
    "Duration of a device step.",
    (metrics) => by("stage", metrics.stepSeconds),
  );
  histogram(
    "fastcache_step_items",
    "Members of a device step.",
    (metrics) => by("stage", metrics.batchItems),
  );
  counter(
    "fastcache_step_failures_total",
    "Device steps that the engine did not complete.",
    ["stage"],
    (metrics) => by("stage", metrics.stepFailures),
  );
  counter(
    "fastcache_requests_total",
    "Requests that have ended, by how.",
    ["end"],
    (metrics) => by("end", metrics.finished),
  );
  counter(
    "fastcache_requests_refused_total",
    "Requests refused at the door: queue full or shutting down.",
    [],
    (metrics) => alone(metrics.refused),
  );
  counter(
    "fastcache_prompt_tokens_total",
    "Prompt tokens, those of pictures included.",
    [],
    (metrics) => alone(metrics.promptTokens),
  );
  counter(
    "fastcache_completion_tokens_total",
    "Tokens generated.",
    [],
    (metrics) => alone(metrics.generatedTokens),
  );
  counter(
    "fastcache_images_encoded_total",
    "Pictures that went through the vision tower.",
    [],
    (metrics) => alone(metrics.encodedImages),
  );
  counter(
    "fastcache_images_shared_total",
    "Pictures whose features were already there.",
    [],
    (metrics) => alone(metrics.sharedImages),
  );

  const requests = new Counter({
    name: "fastcache_http_requests_total",
    help: "Answered HTTP requests.",
    labelNames: ["route", "status"],
    registers,
  });
  return {
    countRequest: ({ route, status }) => requests.inc({ route, status }),
    answer: async () =>
      new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } }),
  };
}
