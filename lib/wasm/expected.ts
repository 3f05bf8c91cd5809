/** kv_expected: scores from the moments of queries. Threads take whole KV heads of whole jobs. */
import { CompressWord, eachHead, JOBS_WORDS } from "./compression.ts";
import { type Job, numbers } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS } from "./page.ts";

const OPERANDS = PAGES_WORDS + JOBS_WORDS;
export const ExpectedWord = {
  scores: OPERANDS,
  heads: OPERANDS + 1,
  scale: OPERANDS + 2,
  rotary: OPERANDS + 3,
  sinks: OPERANDS + 4,
  covariance: OPERANDS + 5,
  valueNorm: OPERANDS + 6,
  epsilon: OPERANDS + 7,
} as const;

/** Turns a vector whose channels lie `stride` apart. */
function turn(x: Float64Array, at: number, stride: number, angles: Float32Array): void {
  const half = angles.length / 2;
  for (let i = 0; i < half; i++) {
    const low = at + i * stride, high = at + (i + half) * stride;
    const a = x[low], b = x[high], cos = angles[i], sin = angles[half + i];
    x[low] = a * cos - b * sin;
    x[high] = b * cos + a * sin;
  }
}

/** Mean [headDim] and, behind it, covariance [headDim²] of one query head at the average coming position. */
function turnedMoments(
  machine: Machine,
  job: Job,
  head: number,
  angles: Float32Array,
  count: number,
): Float64Array {
  const dim = angles.length, size = dim + dim * dim, out = new Float64Array(size);
  job.keep.runs(job.keepBase + head * size, size, (at, offset, run) => {
    for (let i = 0; i < run; i++) out[offset + i] = machine.f32[at + i];
  });
  for (let i = dim; i < size; i++) out[i] /= count;
  turn(out, 0, 1, angles);
  for (let row = 0; row < dim; row++) turn(out, dim + row * dim, 1, angles);
  for (let col = 0; col < dim; col++) turn(out, dim + col, dim, angles);
  return out;
}

export function runKvExpected(
  machine: Machine,
  w: Uint32Array,
  scale: number,
  epsilon: number,
  scoreMax: number,
): void {
  const width = w[CompressWord.jobs + 2], heads = w[ExpectedWord.heads], { f32 } = machine;
  eachHead(machine, w, (job, kvHead, rowIndex, view) => {
    const { headDim } = view.page, group = heads / view.kvHeads, { slots } = job;
    const row = (w[ExpectedWord.scores] >>> 2) + rowIndex * width;
    const sinks = Math.min(w[ExpectedWord.sinks], slots), rest = slots - sinks;
    f32.fill(scoreMax, row, row + sinks);
    f32.fill(0, row + sinks, row + slots);
    if (rest === 0) return;
    const begin = (w[ExpectedWord.rotary] >>> 2) + job.index * headDim;
    const angles = f32.subarray(begin, begin + headDim);
    const values = numbers(machine, view), source = job.source(kvHead), stride = source.keyStride;
    const key = new Float64Array(headDim), logits = new Float64Array(rest);
    for (let g = 0; g < group; g++) {
      const moments = turnedMoments(machine, job, kvHead * group + g, angles, rest);
      let largest = -Infinity;
      for (let i = 0; i < rest; i++) {
        let mean = 0, square = 0;
        for (let d = 0, at = source.key(sinks + i); d < headDim; d++, at += stride) {
          key[d] = values[at];
          mean += key[d] * moments[d];
        }
        if (w[ExpectedWord.covariance] === 1) {
          for (let d = 0, at = headDim; d < headDim; d++) {
            let dot = 0;
            for (let e = 0; e < headDim; e++, at++) dot += moments[at] * key[e];
            square += dot * key[d];
          }
        }
        logits[i] = scale * mean + scale * scale / 2 * square;
        if (logits[i] > largest) largest = logits[i];
      }
      let sum = 0;
      for (let i = 0; i < rest; i++) sum += logits[i] = Math.exp(logits[i] - largest);
      for (let i = 0; i < rest; i++) f32[row + sinks + i] += logits[i] / (sum * group);
    }
    if (w[ExpectedWord.valueNorm] !== 1) return;
    for (let slot = sinks; slot < slots; slot++) {
      let squares = 0;
      for (let d = 0, at = source.value(slot); d < headDim; d++, at++) squares += values[at] * values[at];
      f32[row + slot] = (f32[row + slot] + epsilon) * Math.sqrt(squares);
    }
  });
}
