/** kv_lag: threads take whole heads of whole jobs. */
import { CompressWord, eachHead, JOBS_WORDS } from "./compression.ts";
import { PageWalk } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS } from "./page.ts";

export const LagWord = {
  scores: PAGES_WORDS + JOBS_WORDS,
  sinks: PAGES_WORDS + JOBS_WORDS + 1,
  lag: PAGES_WORDS + JOBS_WORDS + 2,
  cross: PAGES_WORDS + JOBS_WORDS + 3,
} as const;

/** Half the softmax, over one partition, of deviations from the next partition's range, added to `out` [lag]. */
function addSpread(rows: Float32Array, headDim: number, first: number, out: Float64Array): void {
  const lag = out.length, own = first * headDim, next = (first + lag) * headDim;
  const low = rows.slice(next, next + headDim), inverse = rows.slice(next, next + headDim);
  for (let i = 1, at = next + headDim; i < lag; i++) {
    for (let d = 0; d < headDim; d++, at++) {
      const x = rows[at];
      if (x < low[d]) low[d] = x;
      if (x > inverse[d]) inverse[d] = x;
    }
  }
  // A channel without a range says nothing.
  for (let d = 0; d < headDim; d++) inverse[d] = inverse[d] > low[d] ? 1 / (inverse[d] - low[d]) : 0;
  const deviations = new Float64Array(lag), x = new Float64Array(headDim);
  let largest = 0;
  for (let i = 0, at = own; i < lag; i++) {
    let mean = 0, squares = 0;
    for (let d = 0; d < headDim; d++, at++) {
      x[d] = (rows[at] - low[d]) * inverse[d];
      mean += x[d];
    }
    mean /= headDim;
    for (let d = 0; d < headDim; d++) squares += (x[d] - mean) * (x[d] - mean);
    deviations[i] = Math.sqrt(squares / (headDim - 1));
    if (deviations[i] > largest) largest = deviations[i];
  }
  let sum = 0;
  for (let i = 0; i < lag; i++) sum += deviations[i] = Math.exp(deviations[i] - largest);
  for (let i = 0; i < lag; i++) out[i] += deviations[i] / (2 * sum);
}

export function runKvLag(machine: Machine, w: Uint32Array): void {
  const width = w[CompressWord.jobs + 2], sinks = w[LagWord.sinks], lag = w[LagWord.lag];
  const cross = w[LagWord.cross] === 1, { f32 } = machine;
  eachHead(machine, w, (job, head, rowIndex, view) => {
    const { slots } = job, row = (w[LagWord.scores] >>> 2) + rowIndex * width;
    f32.fill(1, row, row + slots);
    if (slots < sinks + 2 * lag) {
      for (let slot = sinks; slot < slots; slot++) f32[row + slot] = (slot - sinks) / (slots - sinks);
      return;
    }
    const { keys, values } = new PageWalk(machine, view, job, head).rows(), { headDim } = view.page;
    const partitions = Math.floor((slots - sinks) / lag);
    for (let p = 0; p + 1 < partitions; p++) {
      const first = sinks + p * lag, scores = new Float64Array(lag);
      addSpread(keys, headDim, first, scores);
      addSpread(values, headDim, first, scores);
      if (cross) {
        f32.set(scores, row + first);
        continue;
      }
      const order = Uint32Array.from(scores, (_, i) => i).sort((a, b) => scores[a] - scores[b] || a - b);
      for (let rank = 0; rank < lag; rank++) f32[row + first + order[rank]] = rank / lag;
    }
  });
}
