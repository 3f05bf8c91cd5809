/** The self-test's scores of methods whose loops have kernels of their own: kv_lag, kv_window and kv_expected, of one prompt. */
import { PAGE_SLOTS_F16 } from "../core/limits.ts";
import type { Backend } from "../ops/backend.ts";
import { KV_ELEMENT_BYTES, type KvDtype } from "../ops/kv.ts";
import { compareSelfTest, wave } from "../ops/self_test.ts";
import { rotated } from "./self_test_formula.ts";
import {
  Deck,
  dot,
  ERROR_MAX_F16,
  GROUP,
  HEADS,
  jobOf,
  keepsOf,
  mapOf,
  Prompt,
  qkvCols,
  SLOTS,
  softmax,
} from "./self_test_prompt.ts";
import { runStep } from "./self_test_step.ts";

/** Partitions that are no whole vectors, the last of three behind a sink; and a window that is not one either. */
const SINKS = 1, LAG = 11, WINDOW = 6, KERNEL = 3, EPSILON = 0.02;

type Rows = readonly ArrayLike<number>[];

/** Scores of one KV head by kv_lag, `cross`. Slots outside of scored partitions have 1. */
function lagScores(prompt: Prompt, kv: number): number[] {
  const scores = new Array<number>(SLOTS).fill(1), partitions = Math.floor((SLOTS - SINKS) / LAG);
  const part = (rows: Rows, p: number) => rows.slice(SINKS + p * LAG, SINKS + (p + 1) * LAG);
  for (let p = 0; p + 1 < partitions; p++) {
    for (let i = 0; i < LAG; i++) scores[SINKS + p * LAG + i] = 0;
    for (const rows of [prompt.keys[kv], prompt.values[kv]]) {
      const spread = softmax(deviations(part(rows, p), part(rows, p + 1)));
      spread.forEach((weight, i) => scores[SINKS + p * LAG + i] += weight / 2);
    }
  }
  return scores;
}

/** Of each row: the deviation, over channels, of what it is in the range of `next`. */
function deviations(own: Rows, next: Rows): number[] {
  const dim = own[0].length, channels = Array.from({ length: dim }, (_, d) => next.map((row) => row[d]));
  const low = channels.map((values) => Math.min(...values)),
    high = channels.map((values) => Math.max(...values));
  return own.map((row) => {
    const x = low.map((least, d) => (row[d] - least) / (high[d] - least));
    const mean = x.reduce((sum, value) => sum + value, 0) / dim;
    return Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (dim - 1));
  });
}

/** The share of a partition's slots that score less. */
function ranked(scores: readonly number[]): number[] {
  return scores.map((score, slot) => {
    const first = SINKS + Math.floor((slot - SINKS) / LAG) * LAG;
    if (score === 1) return 1;
    return scores.slice(first, first + LAG).filter((other) => other < score).length / LAG;
  });
}

/** Scores by kv_window of every KV head. */
function windowScores(prompt: Prompt): number[][] {
  const past = SLOTS - WINDOW;
  const rows = prompt.keys.map((keys, kv) => {
    const mean = new Array<number>(past).fill(0);
    for (let slot = past; slot < SLOTS; slot++) {
      for (let head = kv * GROUP; head < (kv + 1) * GROUP; head++) {
        const query = prompt.query(slot, head);
        const weights = softmax(keys.slice(0, slot + 1).map((key) => prompt.scale * dot(query, key)));
        for (let at = 0; at < past; at++) mean[at] += weights[at] / (WINDOW * GROUP);
      }
    }
    return mean.map((value, slot) => ((mean[slot - 1] ?? 0) + value + (mean[slot + 1] ?? 0)) / KERNEL);
  });
  const largest = Math.max(...rows.flat());
  return rows.map((row) => [...row, ...new Array<number>(WINDOW).fill(largest + 1)]);
}

/** Scores of one KV head by kv_expected, of queries turned by `angles`. */
function expectedScores(prompt: Prompt, kv: number, angles: ArrayLike<number>): number[] {
  const { keys, values, scale } = prompt, scores = new Array<number>(SLOTS).fill(0);
  for (let head = kv * GROUP; head < (kv + 1) * GROUP; head++) {
    const queries = Array.from({ length: SLOTS }, (_, slot) => rotated(prompt.query(slot, head), angles));
    const logits = keys[kv].map((key) => {
      const along = queries.map((query) => dot(query, key));
      const mean = along.reduce((sum, value) => sum + value / SLOTS, 0);
      const square = along.reduce((sum, value) => sum + (value - mean) ** 2 / SLOTS, 0);
      return scale * mean + scale ** 2 / 2 * square;
    });
    softmax(logits).forEach((weight, slot) => scores[slot] += weight / GROUP);
  }
  return scores.map((score, slot) => (score + EPSILON) * Math.sqrt(dot(values[kv][slot], values[kv][slot])));
}

export async function checkScores(backend: Backend, dtype: KvDtype, headDim: number): Promise<string> {
  const cols = qkvCols(headDim),
    prompt = new Prompt(dtype, headDim, wave(SLOTS * cols, 12).map((x) => x / 2));
  const { shape, scale, qkv } = prompt, { heads, kvHeads } = HEADS;
  const pageBytes = PAGE_SLOTS_F16 * 2 * kvHeads * headDim * KV_ELEMENT_BYTES.f16;
  const pageSlots = PAGE_SLOTS_F16 * KV_ELEMENT_BYTES.f16 / KV_ELEMENT_BYTES[dtype];
  const deck = new Deck(), source = deck.pages(Math.ceil(SLOTS / pageSlots));
  const room = (words: number) => deck.pages(Math.ceil(4 * words / pageBytes));
  const moments = room(heads * (headDim + headDim ** 2)), queries = room(WINDOW * heads * headDim);
  const pageCount = deck.pages(1)[0];
  const pages = backend.createKvPages({ ...{ dtype, kvHeads, headDim, pageBytes, pageSlots, pageCount } });
  const half = headDim / 2;
  const angles = Float32Array.from(
    { length: headDim },
    (_, i) => i < half ? Math.cos(0.3 * i) : Math.sin(0.3 * (i - half)),
  );
  try {
    const results = await runStep(backend, (step) => {
      const unturned = Float32Array.from({ length: SLOTS * headDim }, (_, i) => Number(i % headDim < half));
      const map = mapOf(step, 0, SLOTS, source);
      const o = { qkv: step.upload(SLOTS, cols, qkv), shape, pages, map, layer: 0 };
      step.keepMoments({ ...o, keeps: keepsOf(step, moments) });
      step.ropeWriteKv({ ...o, rotary: step.upload(SLOTS, headDim, unturned) });
      step.keepQueries({ ...o, keeps: keepsOf(step, queries, WINDOW) });
      const score = (keep: readonly number[]) => ({
        pages,
        jobs: jobOf(step, { slots: SLOTS, kept: 1, source, target: [], keep }),
        scores: step.tensor(kvHeads, SLOTS),
      });
      const lag = score([]), ranks = score([]), window = score(queries), expected = score(moments);
      step.kvLag({ ...lag, sinks: SINKS, lag: LAG, cross: true });
      step.kvLag({ ...ranks, sinks: SINKS, lag: LAG, cross: false });
      step.kvWindow({ ...window, shape, scale, window: WINDOW, kernel: KERNEL, shared: false });
      step.kvExpected({
        ...{ ...expected, shape, scale, rotary: step.upload(1, headDim, angles) },
        ...{ sinks: 0, covariance: true, valueNorm: true, epsilon: EPSILON },
      });
      return [lag, ranks, window, expected].map(({ scores }) => scores);
    });
    const lags = Array.from({ length: kvHeads }, (_, kv) => lagScores(prompt, kv));
    const errorMax = dtype === "f16" ? ERROR_MAX_F16 : undefined;
    compareSelfTest(lags.flat(), results[0], errorMax);
    // Two that nearly tie may change places.
    compareSelfTest(lags.flatMap(ranked), results[1], 1.01 / LAG);
    const windows = windowScores(prompt).flat();
    compareSelfTest(windows, results[2], errorMax);
    // The window's own slots have scores so much larger that errors of the others would hide behind them.
    const past = (_: number, i: number) => i % SLOTS < SLOTS - WINDOW;
    compareSelfTest(windows.filter(past), new Float32Array(results[2]).filter(past).buffer, errorMax);
    const expected = Array.from({ length: kvHeads }, (_, kv) => expectedScores(prompt, kv, angles)).flat();
    return compareSelfTest(expected, results[3], errorMax);
  } finally {
    backend.destroyKvPages(pages);
  }
}
