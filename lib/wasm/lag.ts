/** kv_lag: threads take whole heads of whole jobs. */
import { assert } from "../core/assert.ts";
import { CompressWord, eachHead, JOBS_WORDS } from "./compression.ts";
import { foldKernels, ROWS_BEYOND } from "./fold_kernels.ts";
import { type Job, PageWalk, type WalkedPages } from "./heads.ts";
import { lagKernels } from "./lag_kernels.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS } from "./page.ts";

export const LagWord = {
  scores: PAGES_WORDS + JOBS_WORDS,
  sinks: PAGES_WORDS + JOBS_WORDS + 1,
  lag: PAGES_WORDS + JOBS_WORDS + 2,
  cross: PAGES_WORDS + JOBS_WORDS + 3,
} as const;

/** Keys of two partitions, behind them their values, then what the kernels need, in a thread's scratch. Bytes. */
function lagScratch(machine: Machine, headDim: number, lag: number) {
  const rows = (lag + ROWS_BEYOND) * headDim * 4, numbers = (lag + 4) * 4, { scratch } = machine;
  const range = scratch + 4 * rows, work = range + 2 * headDim * 4, means = work + numbers;
  assert(means + 2 * numbers <= scratch + machine.scratchBytes, "two partitions fit a thread's scratch");
  return { keys: [scratch, scratch + rows], values: 2 * rows, range, work, means, ranks: means + numbers };
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
    scorePartitions(machine, view, job, head, sinks, lag, cross, row + sinks);
  });
}

/** Scores of all partitions but the last, from word index `to` on. */
function scorePartitions(
  machine: Machine,
  view: WalkedPages,
  job: Job,
  head: number,
  sinks: number,
  lag: number,
  cross: boolean,
  to: number,
): void {
  const { headDim, slots: pageSlots } = view.page, { f32 } = machine;
  const pages = new PageWalk(machine, view, job, head), room = lagScratch(machine, headDim, lag);
  const { rows } = foldKernels(machine, view.page), { spread, ranks } = lagKernels(machine, headDim);
  /** Rows of a partition, in one of the two places in turn. */
  const unpack = (partition: number) => {
    const slot = sinks + partition * lag, keys = room.keys[partition % 2];
    const table = pages.table + 4 * Math.floor(slot / pageSlots);
    rows(table, slot % pageSlots, lag, pages.head, view.pageBytes, keys, keys + room.values, 1);
    return keys;
  };
  const means = room.means >>> 2, scores = (cross ? room.means : room.ranks) >>> 2;
  let own = unpack(0);
  for (let p = 0; sinks + (p + 2) * lag <= job.slots; p++) {
    const next = unpack(p + 1);
    f32.fill(0, means, means + lag);
    spread(own, next, lag, room.range, room.work, room.means);
    spread(own + room.values, next + room.values, lag, room.range, room.work, room.means);
    if (!cross) ranks(room.means, lag, room.ranks);
    f32.copyWithin(to + p * lag, scores, scores + lag);
    own = next;
  }
}
