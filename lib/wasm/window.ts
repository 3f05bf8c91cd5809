/** kv_window and kv_columns: scores from what prefill kept. */
import { type Attend, attendRows, weightKernels } from "./attention.ts";
import { CompressWord, eachHead, JOBS_WORDS } from "./compression.ts";
import { ATTEND_ROWS } from "./attend.ts";
import { Job, PageWalk, type WalkedPages } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS, readPages } from "./page.ts";
import { windowKernels } from "./window_kernels.ts";
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

/** Slots that are smoothed together, at most. */
const KERNEL_MAX = 64;

/** Parts of a thread's scratch: scores of a tile of queries, sums of one head, queries of one head side by side. */
export function weightScratch(machine: Machine): { scores: number; sums: number; queries: number } {
  const quarter = machine.scratchBytes / 4;
  return {
    scores: machine.scratch,
    // In front of the sums is room for what smoothing reaches.
    sums: machine.scratch + 2 * quarter + 4 * KERNEL_MAX,
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

/** Kernels for keys as they are stored, and in f32; looked up once for all heads. */
interface Weighing {
  readonly stored: Attend;
  readonly wide: Attend;
}

/**
 * The stored keys, or where many tiles of queries will read them and there is room from `at` on, a copy in f32: halves are then
 * widened once. The products have the same bits.
 */
function weighedKeys(
  machine: Machine,
  { stored, wide }: Weighing,
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
    return [stored, walk.table, walk.head, pageBytes];
  }
  for (let p = 0; p < pages; p++) machine.u32[(at >>> 2) + p] = p;
  view.kernels.widen(...walk.whole, keys);
  return [wide, at, keys, copyBytes];
}

/** The smoothed attention of the window, before heads are compared. Threads take whole KV heads of whole jobs. */
export function runKvWindow(machine: Machine, w: Uint32Array, scale: number): void {
  const heads = w[WindowWord.heads], half = (w[WindowWord.kernel] - 1) / 2, width = w[CompressWord.jobs + 2];
  const { f32, u32 } = machine, at = weightScratch(machine), { smooth } = windowKernels(machine);
  assert(2 * half + 1 <= KERNEL_MAX, "what is smoothed together has room");
  const { page: stored } = readPages(w, CompressWord.pages);
  const weighing = {
    stored: weightKernels(machine, stored),
    wide: weightKernels(machine, { ...stored, dtype: "f32" }),
  };
  eachHead(machine, w, (job, kv, rowIndex, view) => {
    const { page, kvHeads } = view, { headDim } = page, group = heads / kvHeads, { slots } = job;
    assertWeightScratch(machine, slots);
    const sums = at.sums >>> 2;
    const window = Math.min(w[WindowWord.window], slots), past = slots - window;
    const row = w[WindowWord.scores] + 4 * rowIndex * width;
    f32.fill(0, sums, sums + slots + page.slots);
    // One query sees the same slots whichever head it is of, so that all heads of the group are weighed together.
    const together = window === 1 ? group : 1, rows = window * together;
    const tiles = group / together * Math.ceil(rows / ATTEND_ROWS), behind = at.queries + rows * headDim * 4;
    const [weigh, table, head, pageBytes] = weighedKeys(machine, weighing, view, job, kv, tiles, behind);
    for (let g = 0; g < group; g += together) {
      for (let r = 0; r < rows; r++) {
        const query = window === 1 ? kv * group + r : r * heads + kv * group + g;
        const from = job.keep.at(job.keepBase + query * headDim), to = (at.queries >>> 2) + r * headDim;
        for (let d = 0; d < headDim; d++) u32[to + d] = u32[from + d];
      }
      const stride = headDim * 4, more = Number(window > 1);
      attendRows(
        weigh,
        rows,
        at.queries,
        stride,
        at.sums,
        0,
        table,
        head,
        pageBytes,
        past + 1,
        more,
        at.scores,
        scale,
      );
    }
    smooth(at.sums, past, half, window * group * (2 * half + 1), at.scores, row);
  });
}

/** Shares the scores among heads if asked, and puts the window's own slots above all others of the job. */
export function runKvProtect(machine: Machine, w: Uint32Array): void {
  const { kvHeads } = readPages(w, CompressWord.pages), { lift } = windowKernels(machine);
  const [base, jobs, width] = w.subarray(CompressWord.jobs, CompressWord.jobs + JOBS_WORDS);
  for (let index = machine.thread; index < jobs; index += machine.sharers) {
    const slots = machine.u32[base + JOB_WORDS * index + JobWord.slots];
    const past = slots - Math.min(w[WindowWord.window], slots);
    const rows = w[WindowWord.scores] + 4 * index * kvHeads * width;
    lift(rows, 4 * width, kvHeads, past, slots, w[WindowWord.shared]);
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
    const job = new Job(machine, view, base, Math.floor(row / kvHeads)), { slots } = job;
    const out = (w[ColumnsWord.scores] >>> 2) + row * width;
    job.keep.runs(job.keepBase + row % kvHeads * slots, slots, (at, offset, count) => {
      for (let i = 0; i < count; i++) {
        const slot = offset + i, queries = seen ? group * (slots - slot) : group;
        f32[out + slot] = f32[at + i] / queries + (bias === 0 ? 0 : f32[bias + job.index * width + slot]);
      }
    });
  }
}
