/**
 * Operations of a compress step on whole heads: scores without queries, selection, copies, means. Threads take whole heads
 * of whole jobs, in turn.
 */
import { JOB_WORDS, JobWord } from "../ops/kv.ts";
import { bits, type Job, numbers, readJob } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS, type PagesView, readPages } from "./page.ts";

/** Jobs: word index of KvJobs' array, number of jobs, most stored and most kept slots; then the operation's operands. */
export const JOBS_WORDS = 4;
export const CompressWord = {
  pages: 0,
  jobs: PAGES_WORDS,
  operand: PAGES_WORDS + JOBS_WORDS,
} as const;

/** Visits this thread's jobs' heads; `row` is the row of scores or of kept slots. */
export function eachHead(
  machine: Machine,
  w: Uint32Array,
  visit: (job: Job, head: number, row: number, view: PagesView) => void,
): void {
  const view = readPages(w, CompressWord.pages), base = w[CompressWord.jobs];
  const rows = w[CompressWord.jobs + 1] * view.kvHeads;
  for (let row = machine.thread; row < rows; row += machine.sharers) {
    const head = row % view.kvHeads;
    visit(readJob(machine, view, base, (row - head) / view.kvHeads), head, row, view);
  }
}

/** scores[row, slot] = −‖key‖₂. */
export function runKvNorm(machine: Machine, w: Uint32Array): void {
  const scores = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 2];
  eachHead(machine, w, (job, head, row, view) => {
    const values = numbers(machine, view), source = job.source(head), { f32 } = machine;
    const { headDim } = view.page, stride = source.keyStride;
    for (let slot = 0; slot < job.slots; slot++) {
      let sum = 0;
      for (let d = 0, at = source.key(slot); d < headDim; d++, at += stride) sum += values[at] * values[at];
      f32[scores + row * width + slot] = -Math.sqrt(sum);
    }
  });
}

/** scores[row, slot] = −cos(key, mean direction). */
export function runKvKeyDiff(machine: Machine, w: Uint32Array): void {
  const scores = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 2];
  eachHead(machine, w, (job, head, row, view) => {
    const values = numbers(machine, view), source = job.source(head);
    const { headDim } = view.page, stride = source.keyStride;
    const anchor = new Float64Array(headDim), inverse = new Float64Array(job.slots);
    for (let slot = 0; slot < job.slots; slot++) {
      const key = source.key(slot);
      let squares = 0;
      for (let d = 0, at = key; d < headDim; d++, at += stride) squares += values[at] * values[at];
      inverse[slot] = 1 / Math.max(Math.sqrt(squares), 1e-12);
      for (let d = 0, at = key; d < headDim; d++, at += stride) anchor[d] += values[at] * inverse[slot];
    }
    let length = 0;
    for (let d = 0; d < headDim; d++) length += anchor[d] * anchor[d];
    length = Math.max(Math.sqrt(length), 1e-12);
    for (let slot = 0; slot < job.slots; slot++) {
      let dot = 0;
      for (let d = 0, at = source.key(slot); d < headDim; d++, at += stride) dot += values[at] * anchor[d];
      machine.f32[scores + row * width + slot] = -dot * inverse[slot] / length;
    }
  });
}

/** Words of a recorded kv_top: it reads scores, not pages. */
export const TopWord = { kvHeads: 0, jobs: 1, scores: 1 + JOBS_WORDS, kept: 2 + JOBS_WORDS } as const;

/** The `kept` slots with the largest scores, ascending; ties to the lower slot. */
export function runKvTop(machine: Machine, w: Uint32Array): void {
  const [base, jobs, scoreWidth, keptWidth] = w.subarray(TopWord.jobs, TopWord.jobs + JOBS_WORDS);
  const kvHeads = w[TopWord.kvHeads];
  for (let row = machine.thread; row < jobs * kvHeads; row += machine.sharers) {
    const job = base + JOB_WORDS * Math.floor(row / kvHeads);
    const slots = machine.u32[job + JobWord.slots], count = machine.u32[job + JobWord.kept];
    const begin = (w[TopWord.scores] >>> 2) + row * scoreWidth;
    const scores = machine.f32.subarray(begin, begin + slots);
    const threshold = scores.slice().sort()[slots - count];
    let above = 0;
    for (let slot = 0; slot < slots; slot++) if (scores[slot] > threshold) above++;
    // Of the slots at the threshold the first ones fill what those above it leave.
    let ties = count - above, at = (w[TopWord.kept] >>> 2) + row * keptWidth;
    for (let slot = 0; slot < slots; slot++) {
      if (scores[slot] > threshold || (scores[slot] === threshold && ties-- > 0)) machine.u32[at++] = slot;
    }
  }
}

export const ChunkWord = {
  kvHeads: 0,
  jobs: 1,
  scores: 1 + JOBS_WORDS,
  out: 2 + JOBS_WORDS,
  chunk: 3 + JOBS_WORDS,
} as const;

/** Every slot gets its chunk's mean over heads' sums; the last chunk the largest score there is. */
export function runKvChunk(machine: Machine, w: Uint32Array, scoreMax: number): void {
  const [base, jobs, width] = w.subarray(ChunkWord.jobs, ChunkWord.jobs + JOBS_WORDS);
  const kvHeads = w[ChunkWord.kvHeads], chunk = w[ChunkWord.chunk], { f32 } = machine;
  for (let job = machine.thread; job < jobs; job += machine.sharers) {
    const slots = machine.u32[base + JOB_WORDS * job + JobWord.slots];
    const scores = (w[ChunkWord.scores] >>> 2) + job * kvHeads * width;
    const out = (w[ChunkWord.out] >>> 2) + job * kvHeads * width;
    for (let first = 0; first < slots; first += chunk) {
      const end = Math.min(first + chunk, slots);
      let sum = 0;
      for (let head = 0; head < kvHeads; head++) {
        for (let slot = first; slot < end; slot++) sum += f32[scores + head * width + slot];
      }
      const score = end === slots ? scoreMax : sum / (end - first);
      for (let head = 0; head < kvHeads; head++) {
        f32.fill(score, out + head * width + first, out + head * width + end);
      }
    }
  }
}

/** Target slot i = source slot kept[i]; with angles, its key is turned back by kept[i] − i positions. */
export function runKvGather(machine: Machine, w: Uint32Array): void {
  const kept = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 3];
  const angles = w[CompressWord.operand + 1] >>> 2;
  eachHead(machine, w, (job, head, row, view) => {
    const copy = slotCopier(machine, view, job, head);
    for (let i = 0; i < job.kept; i++) copy(machine.u32[kept + row * width + i], i);
    if (angles === 0) return;
    const values = numbers(machine, view), half = view.page.headDim / 2;
    const source = job.source(head), target = job.target(head), stride = source.keyStride;
    for (let i = 0; i < job.kept; i++) {
      const slot = machine.u32[kept + row * width + i], at = angles + (slot - i) * 2 * half;
      const from = source.key(slot), to = target.key(i);
      for (let d = 0; d < half; d++) {
        const a = values[from + d * stride], b = values[from + (d + half) * stride];
        const cos = machine.f32[at + d], sin = machine.f32[at + half + d];
        values[to + d * stride] = a * cos + b * sin;
        values[to + (d + half) * stride] = b * cos - a * sin;
      }
    }
  });
}

/** Copies a slot of a job's head, key and value, bit by bit. */
function slotCopier(machine: Machine, view: PagesView, job: Job, head: number) {
  const elements = bits(machine, view), source = job.source(head), target = job.target(head);
  const { headDim } = view.page, stride = source.keyStride;
  return (from: number, to: number) => {
    const fromKey = source.key(from), toKey = target.key(to);
    const fromValue = source.value(from), toValue = target.value(to);
    for (let d = 0; d < headDim; d++) {
      elements[toKey + d * stride] = elements[fromKey + d * stride];
      elements[toValue + d] = elements[fromValue + d];
    }
  };
}

/** Means of `factor` consecutive slots; the remainder is copied. */
export function runKvMean(machine: Machine, w: Uint32Array): void {
  const factor = w[CompressWord.operand];
  eachHead(machine, w, (job, head, _row, view) => {
    const values = numbers(machine, view), copy = slotCopier(machine, view, job, head);
    const source = job.source(head), target = job.target(head);
    const { headDim } = view.page, stride = source.keyStride;
    const groups = Math.floor(job.slots / factor);
    const keys = new Float64Array(headDim), sums = new Float64Array(headDim);
    for (let group = 0; group < groups; group++) {
      keys.fill(0);
      sums.fill(0);
      for (let i = 0; i < factor; i++) {
        const key = source.key(group * factor + i), value = source.value(group * factor + i);
        for (let d = 0; d < headDim; d++) {
          keys[d] += values[key + d * stride];
          sums[d] += values[value + d];
        }
      }
      const key = target.key(group), value = target.value(group);
      for (let d = 0; d < headDim; d++) {
        values[key + d * stride] = keys[d] / factor;
        values[value + d] = sums[d] / factor;
      }
    }
    for (let slot = groups * factor; slot < job.slots; slot++) copy(slot, groups + slot - groups * factor);
  });
}
