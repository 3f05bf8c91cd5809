/** paged_attention and segment_attention: which rows are attended together, and which thread does them. */
import { ATTEND_ROWS, buildAttend, buildWeights } from "./attend.ts";
import type { Kernel, Machine } from "./machine.ts";
import { readMap } from "./map.ts";
import { headBytes, pageKey, PAGES_WORDS, type PageShape, readPages } from "./page.ts";

export const PagedWord = { qkv: 0, out: 1, heads: 2, scale: 3, pages: 4, map: 4 + PAGES_WORDS } as const;
export const SegmentWord = {
  qkv: 0,
  out: 1,
  heads: 2,
  kvHeads: 3,
  headDim: 4,
  scale: 5,
  segments: 6,
  count: 7,
} as const;

/** table[rows][0]. */
export type Attend = readonly (readonly Kernel[])[];

export function weightKernels(machine: Machine, page: PageShape): Attend {
  return machine.table(machine.kernels(`weights ${pageKey(page)}`, () => buildWeights(page)));
}

function attendKernels(machine: Machine, page: PageShape): Attend {
  return machine.table(machine.kernels(`attend ${pageKey(page)}`, () => buildAttend(page)));
}

/** Calls `attend` for `count` rows, 6 at a time; each row has its own number of visible slots, `increment` apart. */
export function attendRows(
  attend: Attend,
  count: number,
  q: number,
  qStride: number,
  out: number,
  outStride: number,
  table: number,
  head: number,
  pageBytes: number,
  visible: number,
  increment: number,
  scratch: number,
  scale: number,
): void {
  for (let row = 0; row < count; row += ATTEND_ROWS) {
    const rows = Math.min(ATTEND_ROWS, count - row);
    attend[rows][0](
      q + row * qStride,
      qStride,
      out + row * outStride,
      outStride,
      table,
      head,
      pageBytes,
      visible + row * increment,
      increment,
      scratch,
      scale,
    );
  }
}

/**
 * One token of a sequence: all query heads of a KV head together. Several: ATTEND_ROWS tokens of one query head. Work
 * is dealt out to threads in turn, because its size grows along a sequence.
 */
export function runPagedAttention(machine: Machine, words: Uint32Array, scale: number): void {
  const { address, pageBytes, kvHeads, page } = readPages(words, PagedWord.pages);
  const map = readMap(machine, words, PagedWord.map);
  const heads = words[PagedWord.heads], group = heads / kvHeads;
  const headRow = page.headDim * 4, qRow = (heads + 2 * kvHeads) * headRow, outRow = heads * headRow;
  const attend = attendKernels(machine, page);
  const { scratch } = machine;
  let turn = 0;
  const mine = () => turn++ % machine.sharers === machine.thread;
  for (let s = 0; s < map.sequences; s++) {
    const first = map.firstToken(s), tokens = map.firstToken(s + 1) - first;
    const base = map.slotBase(s), table = map.table(s) * 4;
    const q = words[PagedWord.qkv] + first * qRow, out = words[PagedWord.out] + first * outRow;
    if (tokens === 1) {
      for (let kv = 0; kv < kvHeads; kv++) {
        if (!mine()) continue;
        const offset = kv * group * headRow, head = address + kv * headBytes(page);
        const from = q + offset, to = out + offset;
        attendRows(
          attend,
          group,
          from,
          headRow,
          to,
          headRow,
          table,
          head,
          pageBytes,
          base + 1,
          0,
          scratch,
          scale,
        );
      }
      continue;
    }
    for (let h = 0; h < heads; h++) {
      const head = address + Math.floor(h / group) * headBytes(page);
      for (let t = 0; t < tokens; t += ATTEND_ROWS) {
        if (!mine()) continue;
        const rows = Math.min(ATTEND_ROWS, tokens - t);
        const from = q + t * qRow + h * headRow, to = out + t * outRow + h * headRow;
        attendRows(
          attend,
          rows,
          from,
          qRow,
          to,
          outRow,
          table,
          head,
          pageBytes,
          base + t + 1,
          1,
          scratch,
          scale,
        );
      }
    }
  }
}

/** Slots of the pages that a segment's keys and values are laid out in: those of an f16 pool's page. */
const SEGMENT_SLOTS = 16;

/** A head of a segment is laid out as pages in scratch once, then attended by all its rows. */
export function runSegmentAttention(machine: Machine, words: Uint32Array, scale: number): void {
  const heads = words[SegmentWord.heads],
    kvHeads = words[SegmentWord.kvHeads],
    headDim = words[SegmentWord.headDim];
  const page: PageShape = { headDim, slots: SEGMENT_SLOTS, dtype: "f32" };
  const attend = attendKernels(machine, page);
  const pageBytes = headBytes(page), headRow = headDim * 4, group = heads / kvHeads;
  const qRow = (heads + 2 * kvHeads) * headRow, outRow = heads * headRow;
  const bounds = words[SegmentWord.segments] >>> 2;
  let turn = 0;
  for (let segment = 0; segment < words[SegmentWord.count]; segment++) {
    const first = machine.u32[bounds + segment], rows = machine.u32[bounds + segment + 1] - first;
    for (let kv = 0; kv < kvHeads; kv++) {
      if (turn++ % machine.sharers !== machine.thread) continue;
      const q = words[SegmentWord.qkv] + first * qRow, out = words[SegmentWord.out] + first * outRow;
      const key = q + (heads + kv) * headRow, value = q + (heads + kvHeads + kv) * headRow;
      const table = layOut(machine, page, rows, key, value, qRow);
      const head = table + tableBytes(rows), scores = head + Math.ceil(rows / SEGMENT_SLOTS) * pageBytes;
      for (let h = kv * group; h < (kv + 1) * group; h++) {
        const from = q + h * headRow, to = out + h * headRow;
        attendRows(attend, rows, from, qRow, to, outRow, table, head, pageBytes, rows, 0, scores, scale);
      }
    }
  }
}

function tableBytes(rows: number): number {
  return Math.ceil(Math.ceil(rows / SEGMENT_SLOTS) * 4 / 64) * 64;
}

/** Scratch needed to attend a segment: table, pages, scores. */
export function segmentScratchBytes(rows: number, headDim: number): number {
  const pages = Math.ceil(rows / SEGMENT_SLOTS);
  return tableBytes(rows) + pages * SEGMENT_SLOTS * (2 * headDim + ATTEND_ROWS) * 4;
}

/** Writes a page table 0, 1, 2, … and behind it the pages of one head; returns the table's address. */
function layOut(
  machine: Machine,
  page: PageShape,
  rows: number,
  key: number,
  value: number,
  stride: number,
): number {
  const { f32, u32, scratch } = machine;
  const { headDim, slots } = page;
  const pages = Math.ceil(rows / slots);
  for (let p = 0; p < pages; p++) u32[(scratch >>> 2) + p] = p;
  const begin = (scratch + tableBytes(rows)) >>> 2, pageWords = headBytes(page) / 4;
  for (let row = 0; row < rows; row++) {
    const at = begin + Math.floor(row / slots) * pageWords, slot = row % slots;
    const k = (key + row * stride) >>> 2, v = (value + row * stride) >>> 2;
    for (let d = 0; d < headDim; d++) f32[at + d * slots + slot] = f32[k + d];
    f32.copyWithin(at + headDim * slots + slot * headDim, v, v + headDim);
  }
  return scratch;
}
