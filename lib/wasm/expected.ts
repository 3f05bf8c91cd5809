/** kv_expected: scores from the moments of queries. Threads take whole KV heads of whole jobs. */
import { CompressWord, eachHead, JOBS_WORDS, slotScratch } from "./compression.ts";
import { type Job, numbers, PageWalk } from "./heads.ts";
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

/** The lower triangle of a symmetric form, so that Σ_{j ≤ i} is the whole. */
function layOutForm(out: Float32Array, matrix: Float64Array, dim: number): void {
  let at = 0;
  for (let i = 0; i < dim; i++) {
    for (let j = 0; j < i; j++) out[at++] = matrix[i * dim + j] + matrix[j * dim + i];
    out[at++] = matrix[i * dim + i];
  }
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
    const pages = new PageWalk(machine, view, job, kvHead),
      { first, second, rest: more } = slotScratch(machine, slots);
    const logits = first >>> 2, squares = second >>> 2, form = (more >>> 2) + headDim;
    const keys = (form + headDim * (headDim + 1) / 2) * 4;
    for (let g = 0; g < group; g++) {
      const moments = turnedMoments(machine, job, kvHead * group + g, angles, rest);
      f32.set(moments.subarray(0, headDim), more >>> 2);
      pages.kernels.dots(...pages.whole, first, more);
      if (w[ExpectedWord.covariance] === 1) {
        layOutForm(f32.subarray(form), moments.subarray(headDim), headDim);
        pages.kernels.quadratic(...pages.whole, second, form * 4, keys);
      }
      let largest = -Infinity;
      for (let slot = sinks; slot < slots; slot++) {
        const square = w[ExpectedWord.covariance] === 1 ? f32[squares + slot] : 0;
        f32[logits + slot] = scale * f32[logits + slot] + scale * scale / 2 * square;
        if (f32[logits + slot] > largest) largest = f32[logits + slot];
      }
      let sum = 0;
      for (let slot = sinks; slot < slots; slot++) {
        sum += f32[logits + slot] = Math.exp(f32[logits + slot] - largest);
      }
      for (let slot = sinks; slot < slots; slot++) f32[row + slot] += f32[logits + slot] / (sum * group);
    }
    if (w[ExpectedWord.valueNorm] !== 1) return;
    const values = numbers(machine, view), source = job.source(kvHead);
    for (let slot = sinks; slot < slots; slot++) {
      let length = 0;
      for (let d = 0, at = source.value(slot); d < headDim; d++, at++) length += values[at] * values[at];
      f32[row + slot] = (f32[row + slot] + epsilon) * Math.sqrt(length);
    }
  });
}
