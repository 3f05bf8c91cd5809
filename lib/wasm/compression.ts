/**
 * Operations of a compress step on whole heads: scores without queries, selection, copies, means. Threads take whole heads
 * of whole jobs, in turn.
 */
import { JOB_WORDS, JobWord } from "../ops/kv.ts";
import { assert } from "../core/assert.ts";
import { headKernels } from "./head_kernels.ts";
import { type Job, numbers, PageWalk, readJob, SlotWriter, type WalkedPages } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS, readPages } from "./page.ts";

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
  visit: (job: Job, head: number, row: number, view: WalkedPages) => void,
): void {
  const pages = readPages(w, CompressWord.pages), base = w[CompressWord.jobs];
  const view = { ...pages, kernels: headKernels(machine, pages.page) };
  const rows = w[CompressWord.jobs + 1] * view.kvHeads;
  for (let row = machine.thread; row < rows; row += machine.sharers) {
    const head = row % view.kvHeads;
    visit(readJob(machine, view, base, (row - head) / view.kvHeads), head, row, view);
  }
}

/** Parts of a thread's scratch, in bytes, that `slots` slots of f32 fit into. */
export function slotScratch(
  machine: Machine,
  slots: number,
): { first: number; second: number; rest: number } {
  const part = machine.scratchBytes / 4;
  assert((slots + 64) * 4 <= part, "a score a slot fits a part of a thread's scratch");
  return { first: machine.scratch, second: machine.scratch + part, rest: machine.scratch + 2 * part };
}

/** scores[row, slot] = −‖key‖₂. */
export function runKvNorm(machine: Machine, w: Uint32Array): void {
  const scores = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 2], { f32 } = machine;
  eachHead(machine, w, (job, head, row, view) => {
    const pages = new PageWalk(machine, view, job, head), { first } = slotScratch(machine, job.slots);
    pages.kernels.squares(...pages.whole, first);
    for (let slot = 0, at = first >>> 2; slot < job.slots; slot++) {
      f32[scores + row * width + slot] = -Math.sqrt(f32[at + slot]);
    }
  });
}

/** scores[row, slot] = −cos(key, mean direction). */
export function runKvKeyDiff(machine: Machine, w: Uint32Array): void {
  const scores = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 2], { f32 } = machine;
  eachHead(machine, w, (job, head, row, view) => {
    const { headDim, slots: pageSlots } = view.page, { slots } = job;
    const pages = new PageWalk(machine, view, job, head),
      { first, second, rest } = slotScratch(machine, slots);
    const inverse = first >>> 2, dots = second >>> 2, sums = rest >>> 2;
    pages.kernels.squares(...pages.whole, first);
    for (let slot = 0; slot < slots; slot++) {
      f32[inverse + slot] = 1 / Math.max(Math.sqrt(f32[inverse + slot]), 1e-12);
    }
    f32.fill(0, sums, sums + 4 * headDim);
    // Behind the last slot may lie anything, so a page that is not full is summed here.
    const full = Math.floor(slots / pageSlots);
    if (full > 0) pages.kernels.directions(pages.table, full, pages.head, view.pageBytes, first, rest);
    const values = numbers(machine, view), source = job.source(head), stride = source.keyStride;
    for (let slot = full * pageSlots; slot < slots; slot++) {
      for (let d = 0, at = source.key(slot); d < headDim; d++, at += stride) {
        f32[sums + 4 * d] += values[at] * f32[inverse + slot];
      }
    }
    let squares = 0;
    for (let d = 0; d < headDim; d++) {
      const at = sums + 4 * d, sum = f32[at] + f32[at + 1] + f32[at + 2] + f32[at + 3];
      f32[sums + d] = sum;
      squares += sum * sum;
    }
    pages.kernels.dots(...pages.whole, second, rest);
    const length = Math.max(Math.sqrt(squares), 1e-12);
    for (let slot = 0; slot < slots; slot++) {
      f32[scores + row * width + slot] = -f32[dots + slot] * f32[inverse + slot] / length;
    }
  });
}

/** Words of a recorded kv_top: it reads scores, not pages. */
export const TopWord = { kvHeads: 0, jobs: 1, scores: 1 + JOBS_WORDS, kept: 2 + JOBS_WORDS } as const;

/** The `kept` slots with the largest scores, ascending; ties to the lower slot. */
export function runKvTop(machine: Machine, w: Uint32Array): void {
  const [base, jobs, scoreWidth, keptWidth] = w.subarray(TopWord.jobs, TopWord.jobs + JOBS_WORDS);
  const kvHeads = w[TopWord.kvHeads], { f32 } = machine;
  for (let row = machine.thread; row < jobs * kvHeads; row += machine.sharers) {
    const job = base + JOB_WORDS * Math.floor(row / kvHeads);
    const slots = machine.u32[job + JobWord.slots], count = machine.u32[job + JobWord.kept];
    const begin = (w[TopWord.scores] >>> 2) + row * scoreWidth;
    const sorted = slotScratch(machine, slots).first >>> 2;
    f32.copyWithin(sorted, begin, begin + slots);
    const threshold = ascendingAt(f32, sorted, sorted + slots - 1, sorted + slots - count);
    let above = 0;
    for (let slot = 0; slot < slots; slot++) if (f32[begin + slot] > threshold) above++;
    // Of the slots at the threshold the first ones fill what those above it leave.
    let ties = count - above, at = (w[TopWord.kept] >>> 2) + row * keptWidth;
    for (let slot = 0; slot < slots; slot++) {
      const score = f32[begin + slot];
      if (score > threshold || (score === threshold && ties-- > 0)) machine.u32[at++] = slot;
    }
  }
}

/** What would be at `index` if `values` from `low` to `high` were sorted (Hoare's selection); they are reordered. */
function ascendingAt(values: Float32Array, low: number, high: number, index: number): number {
  while (low < high) {
    const pivot = values[(low + high) >>> 1];
    let i = low, j = high;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      const swapped = values[i];
      values[i++] = values[j];
      values[j--] = swapped;
    }
    if (index <= j) high = j;
    else if (index >= i) low = i;
    else break;
  }
  return values[index];
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
    const pages = new PageWalk(machine, view, job, head), chosen = (kept + row * width) * 4;
    pages.kernels.gather(
      chosen,
      job.kept,
      pages.table,
      job.target(head).table * 4,
      pages.head,
      view.pageBytes,
    );
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

/** Means of `factor` consecutive slots; the remainder is copied. */
export function runKvMean(machine: Machine, w: Uint32Array): void {
  const factor = w[CompressWord.operand];
  eachHead(machine, w, (job, head, _row, view) => {
    const { headDim } = view.page, pages = new PageWalk(machine, view, job, head);
    const { keys, values } = pages.rows(),
      writer = new SlotWriter(machine, view, job, head),
      { row } = writer;
    const groups = Math.floor(job.slots / factor), rest = job.slots - groups * factor;
    for (let group = 0; group < groups; group++) {
      row.fill(0);
      for (let i = 0, at = group * factor * headDim; i < factor; i++, at += headDim) {
        for (let d = 0; d < headDim; d++) {
          row[d] += keys[at + d];
          row[headDim + d] += values[at + d];
        }
      }
      for (let d = 0; d < 2 * headDim; d++) row[d] /= factor;
      writer.write(group);
    }
    for (let i = 0; i < rest; i++) {
      const at = (groups * factor + i) * headDim;
      row.set(keys.subarray(at, at + headDim));
      row.set(values.subarray(at, at + headDim), headDim);
      writer.write(groups + i);
    }
  });
}
