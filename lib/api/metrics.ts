/** `GET /metrics`: what the scheduler counts, in Prometheus' words, read at the moment of the scrape. */
import { Counter, Gauge, Registry } from "prom-client";
import type { Histogram } from "../core/metrics.ts";
import type { PoolGauges } from "../../pool/mod.ts";
import type { SchedulerSnapshot } from "../../scheduler/messages.ts";
import type { SchedulerMetrics } from "../../scheduler/metrics.ts";
import type { ShadowFigures } from "../../scheduler/shadow_record.ts";
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
  paused: 0,
  pool: {
    pages: { raw: 0, compressing: 0, compact: 0, decoding: 0, cached: 0, free: 0 },
    largestFreeBlockPages: 0,
    pageSlots: 0,
    tokenBytes: 0,
    internalFragmentation: 0,
    externalFragmentation: 0,
    zombieByteSeconds: 0,
    lookupTokens: 0,
    hitTokens: 0,
    evictions: 0,
    usedBytes: 0,
    peakUsedBytes: 0,
  },
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

  function poolCounter(name: string, help: string, read: (pool: PoolGauges) => number): void {
    counter(name, help, [], () => [[{}, read(snapshot().pool)]]);
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
  gauge("fastcache_kv_page_tokens", "Tokens of one layer that a page stores.", (now) => now.pool.pageSlots);
  gauge("fastcache_kv_token_bytes", "Bytes of a stored token in all layers.", (now) => now.pool.tokenBytes);
  gauge("fastcache_kv_pages_used", "Pages that sequences hold.", (now) => now.pagesUsed);
  gauge(
    "fastcache_kv_largest_free_block_pages",
    "Pages of the largest block that could be had at once.",
    (now) => now.largestFreeBlockPages,
  );
  gauge("fastcache_sequences_paused", "Sequences that wait for their reader.", (now) => now.paused);
  gauge("fastcache_kv_used_bytes", "Bytes of the pages that sequences hold.", (now) => now.pool.usedBytes);
  gauge("fastcache_kv_peak_used_bytes", "The most they have been.", (now) => now.pool.peakUsedBytes);
  gauge(
    "fastcache_kv_internal_fragmentation",
    "Share of the slots of used pages that store nothing.",
    (now) => now.pool.internalFragmentation,
  );
  gauge(
    "fastcache_kv_external_fragmentation",
    "1 less the largest free block's share of the free pages.",
    (now) => now.pool.externalFragmentation,
  );
  new Gauge({
    name: "fastcache_kv_pages_by_owner",
    help: "Pages by what they hold.",
    labelNames: ["owner"],
    registers,
    collect() {
      for (const [owner, pages] of Object.entries(snapshot().pool.pages)) this.set({ owner }, pages);
    },
  });
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
    "fastcache_picture_seconds",
    "From asking for a picture's pixels until they are there.",
    (metrics) => alone(metrics.pictureSeconds),
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
    "Requests refused before they waited: too many, too many tokens, or shutting down.",
    ["why"],
    (metrics) => by("why", metrics.refused),
  );
  counter(
    "fastcache_preemptions_total",
    "Sequences whose pages were taken for others.",
    [],
    (metrics) => alone(metrics.preempted),
  );
  counter(
    "fastcache_resumptions_total",
    "Sequences that were preempted and have pages again.",
    [],
    (metrics) => alone(metrics.resumed),
  );
  counter(
    "fastcache_compressions_total",
    "Caches written shorter, by what for: the request asked, memory was short, or it was expected to pay.",
    ["for"],
    ({ compressed, shrunk, paid }) =>
      by("for", { request: compressed - shrunk - paid, memory: shrunk, gain: paid }),
  );
  const ofShadow = (read: (figures: ShadowFigures) => number) => ({ shadow }: SchedulerMetrics) =>
    Array.from(
      shadow.figures(),
      (figures) => [{ method: figures.method, ratio: figures.ratio }, read(figures)] as const,
    );
  counter(
    "fastcache_shadow_tokens_total",
    "Tokens of answers that were given again without compression.",
    ["method", "ratio"],
    ofShadow(({ tokens }) => tokens),
  );
  counter(
    "fastcache_shadow_equal_tokens_total",
    "Of these, the tokens before the first at which the compressed answer differs.",
    ["method", "ratio"],
    ofShadow(({ equalTokens }) => equalTokens),
  );
  counter(
    "fastcache_shadow_logprob_difference_total",
    "Absolute differences of the chosen tokens' log-probabilities over the equal tokens, summed.",
    ["method", "ratio"],
    ofShadow(({ logprobDifference }) => logprobDifference),
  );
  counter(
    "fastcache_shadow_runs_total",
    "Requests answered again to compare.",
    ["method", "ratio"],
    ofShadow(({ runs }) => runs),
  );
  counter(
    "fastcache_shadow_dropped_total",
    "Requests that were to be answered again and found no place or failed.",
    [],
    (metrics) => alone(metrics.shadow.dropped),
  );
  counter(
    "fastcache_shadow_put_off_total",
    "Comparing runs that gave way to a request; not among the cancelled requests.",
    [],
    (metrics) => alone(metrics.shadow.putOff),
  );
  counter(
    "fastcache_reader_pauses_total",
    "Times that a stream waited for its reader.",
    [],
    (metrics) => alone(metrics.readerPauses),
  );
  histogram(
    "fastcache_reader_pause_seconds",
    "How long streams waited for their readers.",
    (metrics) => alone(metrics.readerPauseSeconds),
  );
  poolCounter(
    "fastcache_kv_zombie_byte_seconds_total",
    "Bytes of raw caches times the seconds that they outlived their compressed copies.",
    (pool) => pool.zombieByteSeconds,
  );
  poolCounter(
    "fastcache_prefix_cache_queries_total",
    "Prompt tokens that were looked up in the prefix cache.",
    (pool) => pool.lookupTokens,
  );
  poolCounter(
    "fastcache_prefix_cache_hits_total",
    "Prompt tokens that were found there.",
    (pool) => pool.hitTokens,
  );
  poolCounter(
    "fastcache_prefix_cache_evictions_total",
    "Cached pages given to others.",
    (pool) => pool.evictions,
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
