/** kv_expected: scores from the moments of queries. Threads take whole KV heads of whole jobs. */
import { assert } from "../core/assert.ts";
import { CompressWord, eachHead, JOBS_WORDS, slotScratch } from "./compression.ts";
import { expectedKernels } from "./expected_kernels.ts";
import { type Job, PageWalk } from "./heads.ts";
import type { Machine } from "./machine.ts";
import { PAGES_WORDS, readPages } from "./page.ts";

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

/** Parts of a thread's scratch: scores and lengths of a head's slots, then its logits, its moments, one page's keys. */
function expectedScratch(machine: Machine, slots: number, headDim: number, pageSlots: number) {
  const { first, second, rest } = slotScratch(machine, slots), numbers = (slots + 64) * 4;
  const moments = rest + numbers, keys = moments + (headDim + headDim ** 2) * 4;
  assert(
    keys + pageSlots * headDim * 4 <= machine.scratch + machine.scratchBytes,
    "a head's moments fit a thread's scratch",
  );
  return { scores: first, lengths: second, logits: rest, moments, keys };
}

/** The address of a query head's moments: where they lie if that is one page, otherwise `room`, where they are put together. */
function momentsAt(
  { f32 }: Machine,
  { keep, keepBase }: Job,
  word: number,
  size: number,
  room: number,
): number {
  let at = room;
  keep.runs(keepBase + word, size, (from, offset, count) => {
    if (count === size) at = 4 * from;
    else f32.copyWithin((room >>> 2) + offset, from, from + count);
  });
  return at;
}

export function runKvExpected(
  machine: Machine,
  w: Uint32Array,
  scale: number,
  epsilon: number,
  scoreMax: number,
): void {
  const width = w[CompressWord.jobs + 2], heads = w[ExpectedWord.heads], { f32 } = machine;
  const { logits, weights } = expectedKernels(machine, readPages(w, CompressWord.pages).page);
  eachHead(machine, w, (job, kvHead, rowIndex, view) => {
    const { headDim, slots: pageSlots } = view.page, group = heads / view.kvHeads, { slots } = job;
    const row = (w[ExpectedWord.scores] >>> 2) + rowIndex * width;
    const sinks = Math.min(w[ExpectedWord.sinks], slots), rest = slots - sinks;
    f32.fill(scoreMax, row, row + sinks);
    if (rest === 0) return;
    const at = expectedScratch(machine, slots, headDim, pageSlots),
      pages = new PageWalk(machine, view, job, kvHead);
    const size = headDim + headDim ** 2;
    const angles = w[ExpectedWord.rotary] + job.index * headDim * 4;
    const rows = w[ExpectedWord.covariance] === 1 ? headDim : 0, scores = at.scores >>> 2;
    f32.fill(0, scores, scores + rest);
    for (let g = 0; g < group; g++) {
      const moments = momentsAt(machine, job, (kvHead * group + g) * size, size, at.moments);
      // The kept sums are divided by their count here.
      const square = scale * scale / 2 / rest;
      logits(...pages.whole, at.logits, moments, angles, at.keys, rows, scale, square);
      weights(at.logits + 4 * sinks, rest, at.scores, 1 / group);
    }
    if (w[ExpectedWord.valueNorm] !== 1) {
      f32.copyWithin(row + sinks, scores, scores + rest);
      return;
    }
    pages.kernels.lengths(...pages.whole, at.lengths);
    const lengths = (at.lengths >>> 2) + sinks;
    for (let i = 0; i < rest; i++) f32[row + sinks + i] = (f32[scores + i] + epsilon) * f32[lengths + i];
  });
}
