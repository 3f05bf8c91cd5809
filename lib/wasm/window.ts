/** kv_window and kv_columns: scores from what prefill kept. */
import { type Attend, attendRows, weightKernels } from "./attention.ts";
import { CompressWord, eachHead, JOBS_WORDS } from "./compression.ts";
import { ATTEND_ROWS } from "./attend.ts";
import { type Job, PageWalk, readJob, type WalkedPages } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS, readPages } from "./page.ts";
import { assert } from "../core/assert.ts";
import { JOB_WORDS, JobWord } from "../ops/kv.ts";

const OPERANDS = PAGES_WORDS + JOBS_WORDS;
export const WindowWord = {
  scores: OPERANDS,
  heads: OPERANDS + 1,
  scale: OPERANDS + 2,
  window: OPERANDS + 3,
  kernel: OPERANDS + 4,
  shared: OPERANDS + 5,
} as const;

/** Parts of a thread's scratch: scores of a tile of queries, sums of one head, queries of one head side by side. */
export function weightScratch(machine: Machine): { scores: number; sums: number; queries: number } {
  const quarter = machine.scratchBytes / 4;
  return {
    scores: machine.scratch,
    sums: machine.scratch + 2 * quarter,
    queries: machine.scratch + 3 * quarter,
  };
}

/** Tiles of queries for which widening keys first is no loss. */
const WIDENING_TILES = 4;

/** Asserts that a tile's scores and the sums of `slots` slots fit their parts. */
export function assertWeightScratch(machine: Machine, slots: number): void {
  assert(
    (slots + 64) * 4 * Math.max(ATTEND_ROWS / 2, 1) <= machine.scratchBytes / 4,
    "the scores of a prompt fit a thread's scratch",
  );
}

/** Where rows are weighed against a head's keys: kernels, page table, the head in page 0, bytes of a page. */
type Weighed = readonly [weigh: Attend, table: number, head: number, pageBytes: number];

/**
 * The stored keys, or where many tiles of queries will read them and there is room from `at` on, a copy in f32: halves are then
 * widened once. The products have the same bits.
 */
function weighedKeys(
  machine: Machine,
  view: WalkedPages,
  job: Job,
  kvHead: number,
  tiles: number,
  at: number,
): Weighed {
  const { page, pageBytes } = view, walk = new PageWalk(machine, view, job, kvHead), [, pages] = walk.whole;
  const copyBytes = page.headDim * page.slots * 4, keys = at + 64 * Math.ceil(pages / 16);
  const fits = keys + pages * copyBytes <= machine.scratch + machine.scratchBytes;
  if (page.dtype === "f32" || tiles < WIDENING_TILES || !fits) {
    return [weightKernels(machine, page), walk.table, walk.head, pageBytes];
  }
  for (let p = 0; p < pages; p++) machine.u32[(at >>> 2) + p] = p;
  view.kernels.widen(...walk.whole, keys);
  return [weightKernels(machine, { ...page, dtype: "f32" }), at, keys, copyBytes];
}

/** The smoothed attention of the window, before heads are compared. Threads take whole KV heads of whole jobs. */
export function runKvWindow(machine: Machine, w: Uint32Array, scale: number): void {
  const heads = w[WindowWord.heads], half = (w[WindowWord.kernel] - 1) / 2, width = w[CompressWord.jobs + 2];
  const { f32, u32 } = machine, at = weightScratch(machine);
  eachHead(machine, w, (job, kv, rowIndex, view) => {
    const { page, kvHeads } = view, { headDim } = page, group = heads / kvHeads, { slots } = job;
    assertWeightScratch(machine, slots);
    const sums = at.sums >>> 2;
    const window = Math.min(w[WindowWord.window], slots), past = slots - window;
    const row = (w[WindowWord.scores] >>> 2) + rowIndex * width;
    f32.fill(0, sums, sums + slots + page.slots);
    const tiles = group * Math.ceil(window / ATTEND_ROWS), behind = at.queries + window * headDim * 4;
    const [weigh, table, head, pageBytes] = weighedKeys(machine, view, job, kv, tiles, behind);
    for (let g = 0; g < group; g++) {
      for (let r = 0; r < window; r++) {
        const from = job.keep.at(job.keepBase + (r * heads + kv * group + g) * headDim);
        u32.copyWithin((at.queries >>> 2) + r * headDim, from, from + headDim);
      }
      const stride = headDim * 4;
      attendRows(
        ...[weigh, window, at.queries, stride, at.sums, 0, table, head, pageBytes, past + 1, 1] as const,
        at.scores,
        scale,
      );
    }
    const divisor = window * group * (2 * half + 1);
    for (let slot = 0; slot < past; slot++) {
      let sum = 0;
      const end = Math.min(past - 1, slot + half);
      for (let s = Math.max(0, slot - half); s <= end; s++) sum += f32[sums + s];
      f32[row + slot] = sum / divisor;
    }
  });
}

/** Shares the scores among heads if asked, and puts the window's own slots above all others of the job. */
export function runKvProtect(machine: Machine, w: Uint32Array): void {
  const { kvHeads } = readPages(w, CompressWord.pages),
    shared = w[WindowWord.shared] === 1,
    { f32 } = machine;
  const [base, jobs, width] = w.subarray(CompressWord.jobs, CompressWord.jobs + JOBS_WORDS);
  for (let index = machine.thread; index < jobs; index += machine.sharers) {
    const slots = machine.u32[base + JOB_WORDS * index + JobWord.slots];
    const past = slots - Math.min(w[WindowWord.window], slots);
    const rows = (w[WindowWord.scores] >>> 2) + index * kvHeads * width;
    let largest = 0;
    for (let slot = 0; slot < past; slot++) {
      let sum = 0;
      for (let kv = 0; kv < kvHeads; kv++) {
        const score = f32[rows + kv * width + slot];
        sum += score;
        if (!shared && score > largest) largest = score;
      }
      if (!shared) continue;
      for (let kv = 0; kv < kvHeads; kv++) f32[rows + kv * width + slot] = sum / kvHeads;
      if (sum / kvHeads > largest) largest = sum / kvHeads;
    }
    for (let kv = 0; kv < kvHeads; kv++) {
      f32.fill(largest + 1, rows + kv * width + past, rows + kv * width + slots);
    }
  }
}

export const ColumnsWord = {
  scores: OPERANDS,
  heads: OPERANDS + 1,
  seen: OPERANDS + 2,
  bias: OPERANDS + 3,
} as const;

export function runKvColumns(machine: Machine, w: Uint32Array): void {
  const view = readPages(w, CompressWord.pages), { kvHeads } = view;
  const [base, jobs, width] = w.subarray(CompressWord.jobs, CompressWord.jobs + JOBS_WORDS);
  const group = w[ColumnsWord.heads] / kvHeads, seen = w[ColumnsWord.seen] === 1;
  const bias = w[ColumnsWord.bias] >>> 2, { f32 } = machine;
  for (let row = machine.thread; row < jobs * kvHeads; row += machine.sharers) {
    const job = readJob(machine, view, base, Math.floor(row / kvHeads)), { slots } = job;
    const out = (w[ColumnsWord.scores] >>> 2) + row * width;
    job.keep.runs(job.keepBase + row % kvHeads * slots, slots, (at, offset, count) => {
      for (let i = 0; i < count; i++) {
        const slot = offset + i, queries = seen ? group * (slots - slot) : group;
        f32[out + slot] = f32[at + i] / queries + (bias === 0 ? 0 : f32[bias + job.index * width + slot]);
      }
    });
  }
}
