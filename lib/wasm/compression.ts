/**
 * Operations of a compress step on whole heads: scores without queries, selection, copies, means. Threads take whole heads
 * of whole jobs, in turn.
 */
import { JOB_WORDS, JobWord } from "../ops/kv.ts";
import { assert } from "../core/assert.ts";
import { headKernels } from "./head_kernels.ts";
import { Job, numbers, PageWalk, SlotWriter, type WalkedPages } from "./heads.ts";
import { keyDiffKernel, keyDiffWorkBytes } from "./key_diff_kernel.ts";
import type { Machine } from "./machine.ts";
import { headBytes, PAGES_WORDS, readPages } from "./page.ts";
import { topKernel } from "./top_kernel.ts";

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
    visit(new Job(machine, view, base, (row - head) / view.kvHeads), head, row, view);
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
  const scores = w[CompressWord.operand], width = w[CompressWord.jobs + 2];
  eachHead(machine, w, (job, head, row, view) => {
    const { whole } = new PageWalk(machine, view, job, head), { first } = slotScratch(machine, job.slots);
    view.kernels.norms(...whole, job.slots, first, scores + 4 * row * width);
  });
}

/** scores[row, slot] = −cos(key, mean direction). */
export function runKvKeyDiff(machine: Machine, w: Uint32Array): void {
  const scores = w[CompressWord.operand], width = w[CompressWord.jobs + 2];
  const { page } = readPages(w, CompressWord.pages), keyDiff = keyDiffKernel(machine, page);
  eachHead(machine, w, (job, head, row, view) => {
    const { whole } = new PageWalk(machine, view, job, head);
    assert(
      keyDiffWorkBytes(page, whole[1]) <= machine.scratchBytes,
      "a number a slot fits a thread's scratch",
    );
    keyDiff(...whole, job.slots, machine.scratch, scores + 4 * row * width);
  });
}

/** Words of a recorded kv_top: it reads scores, not pages. */
export const TopWord = { kvHeads: 0, jobs: 1, scores: 1 + JOBS_WORDS, kept: 2 + JOBS_WORDS } as const;

/** The `kept` slots with the largest scores, ascending; ties to the lower slot. */
export function runKvTop(machine: Machine, w: Uint32Array): void {
  const [base, jobs, scoreWidth, keptWidth] = w.subarray(TopWord.jobs, TopWord.jobs + JOBS_WORDS);
  const kvHeads = w[TopWord.kvHeads], top = topKernel(machine);
  for (let row = machine.thread; row < jobs * kvHeads; row += machine.sharers) {
    const job = base + JOB_WORDS * Math.floor(row / kvHeads);
    const slots = machine.u32[job + JobWord.slots], count = machine.u32[job + JobWord.kept];
    const kept = w[TopWord.kept] + 4 * row * keptWidth;
    top(w[TopWord.scores] + 4 * row * scoreWidth, slots, count, kept, slotScratch(machine, slots).first);
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
    view.kernels.gather(
      (kept + row * width) * 4,
      job.kept,
      job.sourceTable * 4,
      job.targetTable * 4,
      view.address + head * headBytes(view.page),
      view.pageBytes,
      machine.scratch,
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
