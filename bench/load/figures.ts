/** What a run comes to. Latencies count from the moment a request was due. */
import { percentile } from "../percentile.ts";
import type { Answer } from "./meter.ts";
import type { Run, Sent } from "./run.ts";
import type { LoadRequest } from "./request.ts";

export const QUANTILES = { p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99 } as const;
type Quantile = keyof typeof QUANTILES;
export type Spread = Readonly<Record<Quantile | "mean" | "max", number>>;

/** Limits that a request must keep to count as goodput; null does not matter. */
export interface Targets {
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
  readonly endToEndMs: number | null;
}

/** One answered request. */
export interface Latency {
  /** Due to first non-empty text. */
  readonly ttftMs: number;
  /** (end-to-end − TTFT) / (completion tokens − 1); NaN for one token. */
  readonly tpotMs: number;
  readonly endToEndMs: number;
  /** End-to-end by completion token. */
  readonly normalisedMs: number;
  /** Prefill's end − arrival by the server's clock, decode left out; NaN where the server tells no stage times. */
  readonly ttftPaperMs: number;
}

/** Stages up to the end of prefill, in the server's words. */
const STAGES_TO_PREFILL = ["intake", "encode", "prefill"] as const;

export function latencyOf(sent: Sent, answer: Answer, startMs: number): Latency {
  const ttftMs = answer.firstTextMs - startMs - sent.dueMs;
  const endToEndMs = sent.endMs - sent.dueMs;
  const { completionTokens, stages } = answer;
  return {
    ttftMs,
    tpotMs: completionTokens > 1 ? (endToEndMs - ttftMs) / (completionTokens - 1) : NaN,
    endToEndMs,
    normalisedMs: completionTokens > 0 ? endToEndMs / completionTokens : NaN,
    ttftPaperMs: stages === null ? NaN : STAGES_TO_PREFILL.reduce(
      (sum, stage) => sum + (stages[stage]?.waitMs ?? 0) + (stages[stage]?.runMs ?? 0),
      0,
    ),
  };
}

/** Inside every target. A latency that does not exist (a gap after one token) breaks none. */
export function keepsTargets({ ttftMs, tpotMs, endToEndMs }: Latency, targets: Targets): boolean {
  const within = (value: number, limit: number | null) => limit === null || !(value > limit);
  return !Number.isNaN(ttftMs) && within(ttftMs, targets.ttftMs) && within(tpotMs, targets.tpotMs) &&
    within(endToEndMs, targets.endToEndMs);
}

export interface Figures {
  readonly requests: number;
  readonly answered: number;
  readonly refused: number;
  readonly errors: number;
  readonly abandoned: number;
  /** How often each refusal and error came, by its code. */
  readonly codes: Readonly<Record<string, number>>;
  /** First request due to last answer. */
  readonly seconds: number;
  /** Requests due per second of the time in which they were due; NaN in a closed loop. */
  readonly offeredPerSecond: number;
  readonly requestsPerSecond: number;
  /**
   * Answers a second between the first fifth of them and the last: neither the filling of an idle server nor its emptying
   * counts.
   */
  readonly steadyPerSecond: number;
  readonly goodputPerSecond: number;
  readonly outputTokensPerSecond: number;
  readonly totalTokensPerSecond: number;
  readonly ttftMs: Spread;
  readonly ttftPaperMs: Spread;
  readonly tpotMs: Spread;
  readonly itlMs: Spread;
  readonly endToEndMs: Spread;
  readonly normalisedMs: Spread;
  /** Sent − due: how late this program itself was. */
  readonly latenessMs: Spread;
  readonly inFlightMax: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens: number;
  /** Mean score of answers that have one, 0 to 1; NaN where none has. */
  readonly right: number;
  readonly scored: number;
  readonly rightByGroup: ReadonlyMap<string, { readonly right: number; readonly count: number }>;
  /** Mean milliseconds of a request in each stage, by the server. */
  readonly stages: ReadonlyMap<string, { readonly waitMs: number; readonly runMs: number }>;
}

export function spread(values: readonly number[]): Spread {
  const real = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const mean = real.length === 0 ? NaN : real.reduce((sum, value) => sum + value, 0) / real.length;
  const quantiles = Object.fromEntries(
    Object.entries(QUANTILES).map(([name, p]) => [name, percentile(real, p)]),
  ) as Record<Quantile, number>;
  return { ...quantiles, mean, max: real.at(-1) ?? NaN };
}

export function figuresOf(
  { sent, startMs, inFlightMax }: Run,
  requests: readonly LoadRequest[],
  loop: "open" | "closed",
  targets: Targets,
): Figures {
  const answered = sent.flatMap((one) =>
    one.reply.kind === "answer" ? [{ sent: one, answer: one.reply.answer }] : []
  );
  const latencies = answered.map(({ sent, answer }) => latencyOf(sent, answer, startMs));
  const column = (key: keyof Latency) => spread(latencies.map((latency) => latency[key]));
  // Folds: a hundred thousand arguments are too many for Math.max.
  const lastEndMs = answered.reduce((last, { sent }) => Math.max(last, sent.endMs), 0);
  const firstDueMs = sent.length === 0
    ? 0
    : sent.reduce((first, { dueMs }) => Math.min(first, dueMs), Infinity);
  const lastDueMs = sent.reduce((last, { dueMs }) => Math.max(last, dueMs), 0);
  const seconds = answered.length === 0 ? 0 : (lastEndMs - firstDueMs) / 1000;
  const perSecond = (count: number) => seconds > 0 ? count / seconds : 0;
  const total = (read: (answer: Answer) => number) =>
    answered.reduce((sum, { answer }) => sum + (read(answer) || 0), 0);
  const promptTokens = total((answer) => answer.promptTokens);
  const completionTokens = total((answer) => answer.completionTokens);
  const codes: Record<string, number> = {};
  for (const { reply } of sent) {
    if (reply.kind === "refused" || reply.kind === "error") codes[reply.code] = (codes[reply.code] ?? 0) + 1;
  }
  const kinds = (kind: Sent["reply"]["kind"]) => sent.filter(({ reply }) => reply.kind === kind).length;
  const rightByGroup = scoresByGroup(answered, requests);
  const scored = [...rightByGroup.values()].reduce((sum, { count }) => sum + count, 0);
  const right = [...rightByGroup.values()].reduce((sum, { right }) => sum + right, 0);
  return {
    requests: sent.length,
    answered: answered.length,
    refused: kinds("refused"),
    errors: kinds("error"),
    abandoned: kinds("abandoned"),
    codes,
    seconds,
    offeredPerSecond: loop === "closed" || lastDueMs === firstDueMs
      ? NaN
      : (sent.length - 1) / (lastDueMs - firstDueMs) * 1000,
    requestsPerSecond: perSecond(answered.length),
    steadyPerSecond: steadyRate(answered.map(({ sent }) => sent.endMs)),
    goodputPerSecond: perSecond(latencies.filter((latency) => keepsTargets(latency, targets)).length),
    outputTokensPerSecond: perSecond(completionTokens),
    totalTokensPerSecond: perSecond(promptTokens + completionTokens),
    ttftMs: column("ttftMs"),
    ttftPaperMs: column("ttftPaperMs"),
    tpotMs: column("tpotMs"),
    itlMs: spread(answered.flatMap(({ answer }) => answer.gapsMs)),
    endToEndMs: column("endToEndMs"),
    normalisedMs: column("normalisedMs"),
    latenessMs: spread(sent.map(({ sentMs, dueMs }) => Math.max(0, sentMs - dueMs))),
    inFlightMax,
    promptTokens,
    completionTokens,
    cachedTokens: total((answer) => answer.cachedTokens),
    right: scored === 0 ? NaN : right / scored,
    scored,
    rightByGroup,
    stages: meanStages(answered.map(({ answer }) => answer)),
  };
}

function steadyRate(endsMs: readonly number[]): number {
  const sorted = endsMs.toSorted((a, b) => a - b);
  const from = Math.floor(sorted.length / 5), to = Math.ceil(4 * sorted.length / 5) - 1;
  return to > from ? (to - from) / (sorted[to] - sorted[from]) * 1000 : NaN;
}

function scoresByGroup(
  answered: readonly { readonly sent: Sent; readonly answer: Answer }[],
  requests: readonly LoadRequest[],
): Map<string, { right: number; count: number }> {
  const groups = new Map<string, { right: number; count: number }>();
  for (const { sent, answer } of answered) {
    const { group, score } = requests[sent.index];
    if (score === null) continue;
    const counted = groups.get(group) ?? { right: 0, count: 0 };
    groups.set(group, { right: counted.right + score(answer.text), count: counted.count + 1 });
  }
  return groups;
}

function meanStages(answers: readonly Answer[]): Map<string, { waitMs: number; runMs: number }> {
  const told = answers.filter(({ stages }) => stages !== null);
  const names = [...new Set(told.flatMap(({ stages }) => Object.keys(stages!)))];
  const mean = (read: (answer: Answer) => number) =>
    told.reduce((sum, answer) => sum + read(answer), 0) / told.length;
  return new Map(names.map((name) => [name, {
    waitMs: mean(({ stages }) => stages![name]?.waitMs ?? 0),
    runMs: mean(({ stages }) => stages![name]?.runMs ?? 0),
  }]));
}
