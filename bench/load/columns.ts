/** Figures as the columns of a table, each with its unit in its name. */
import type { Row } from "../report/table.ts";
import { byLabel, type Samples, sumOf } from "./exposition.ts";
import { type Figures, QUANTILES, type Spread } from "./figures.ts";

/** Three digits after the point are more than any clock here can tell. */
const rounded = (value: number): number => Math.round(value * 1000) / 1000;

function spreadColumns(name: string, spread: Spread): Row {
  return Object.fromEntries(
    (Object.keys(QUANTILES) as (keyof typeof QUANTILES)[]).map((
      q,
    ) => [`${name}_${q}_ms`, rounded(spread[q])]),
  );
}

export function figureColumns(figures: Figures): Row {
  const row: Record<string, string | number> = {
    requests: figures.requests,
    answered: figures.answered,
    refused: figures.refused,
    errors: figures.errors,
    abandoned: figures.abandoned,
    codes: Object.entries(figures.codes).map(([code, count]) => `${count}× ${code}`).join("; "),
    seconds: rounded(figures.seconds),
    offered_per_s: rounded(figures.offeredPerSecond),
    requests_per_s: rounded(figures.requestsPerSecond),
    steady_per_s: rounded(figures.steadyPerSecond),
    goodput_per_s: rounded(figures.goodputPerSecond),
    output_tokens_per_s: rounded(figures.outputTokensPerSecond),
    total_tokens_per_s: rounded(figures.totalTokensPerSecond),
    ...spreadColumns("ttft", figures.ttftMs),
    ...spreadColumns("ttft_paper", figures.ttftPaperMs),
    ...spreadColumns("tpot", figures.tpotMs),
    ...spreadColumns("itl", figures.itlMs),
    ...spreadColumns("end_to_end", figures.endToEndMs),
    ...spreadColumns("normalised", figures.normalisedMs),
    lateness_p50_ms: rounded(figures.latenessMs.p50),
    lateness_p99_ms: rounded(figures.latenessMs.p99),
    lateness_max_ms: rounded(figures.latenessMs.max),
    in_flight_max: figures.inFlightMax,
    prompt_tokens: figures.promptTokens,
    completion_tokens: figures.completionTokens,
    cached_tokens: figures.cachedTokens,
    right: rounded(figures.right),
    scored: figures.scored,
  };
  for (const stage of STAGES) {
    const time = figures.stages.get(stage);
    row[`${stage}_wait_ms`] = rounded(time?.waitMs ?? NaN);
    row[`${stage}_run_ms`] = rounded(time?.runMs ?? NaN);
  }
  return row;
}

/** The server's stages, as it names them. */
export const STAGES = ["intake", "encode", "prefill", "compress", "decode"] as const;

/**
 * What the server's own counters say: its device's busy time, and so the requests per second that these stages could do
 * with a device that never waits.
 */
export function countedColumns(counted: Samples | null, figures: Figures): Row {
  if (counted === null) return {};
  const busySeconds = sumOf(counted, "fastcache_step_seconds_sum");
  const steps = byLabel(counted, "fastcache_step_items_count", "stage");
  const items = byLabel(counted, "fastcache_step_items_sum", "stage");
  const row: Record<string, string | number> = {
    device_busy_s: rounded(busySeconds),
    bound_per_s: rounded(busySeconds > 0 ? figures.answered / busySeconds : NaN),
  };
  for (const stage of STAGES.slice(1)) {
    const count = steps.get(stage) ?? 0;
    row[`${stage}_steps`] = count;
    row[`${stage}_items_mean`] = rounded(count === 0 ? NaN : (items.get(stage) ?? 0) / count);
  }
  return row;
}
