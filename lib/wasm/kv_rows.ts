/**
 * kv_read_rows and kv_write_rows over pages: copies with a change of layout and width, as plain TypeScript on the shared
 * memory. Threads take whole groups.
 */
import { JOB_WORDS, JobWord, KV_ELEMENT_BYTES, KV_GROUP_WORDS, type KvPart } from "../ops/kv.ts";
import type { Machine } from "./machine.ts";
import { halfBytes, headBytes, PAGES_WORDS, readPages } from "./page.ts";

/** Words of a recorded operation: the pool, KvJobs' array and the groups by word index, then the operands. */
export const KvRowsWord = {
  pages: 0,
  jobs: PAGES_WORDS,
  groups: PAGES_WORDS + 1,
  groupCount: PAGES_WORDS + 2,
  layer: PAGES_WORDS + 3,
  part: PAGES_WORDS + 4,
  rows: PAGES_WORDS + 5,
  cols: PAGES_WORDS + 6,
} as const;

export const KV_PARTS: readonly KvPart[] = ["key", "value"];

/** The largest finite f16: what lies beyond is stored as this, as on every backend. */
const F16_MAX = 65504;

/** Every half as f32: a look-up takes half the time of reading through a Float16Array (Deno 2.9). */
let halves: Float32Array | null = null;

function widened(): Float32Array {
  halves ??= Float32Array.from(
    new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
  );
  return halves;
}

/** Where one layer's keys, or values, of a group begin and how they lie, in elements. */
interface Layout {
  /** Of slot 0 of head 0 in page 0. */
  readonly base: number;
  readonly page: number;
  readonly head: number;
  /** From one slot of a page to the next, and from one channel to the next. */
  readonly slot: number;
  readonly channel: number;
  readonly pageSlots: number;
}

function layoutOf(w: Uint32Array): Layout {
  const { address, pageBytes, page } = readPages(w, KvRowsWord.pages);
  const size = KV_ELEMENT_BYTES[page.dtype], isKey = KV_PARTS[w[KvRowsWord.part]] === "key";
  return {
    base: (address + (isKey ? 0 : halfBytes(page))) / size,
    page: pageBytes / size,
    head: headBytes(page) / size,
    // Keys are transposed: the channels of one slot lie a page's slots apart.
    slot: isKey ? 1 : page.headDim,
    channel: isKey ? page.slots : 1,
    pageSlots: page.slots,
  };
}

/** Word index of the page table of a group's job. */
function tableOf(u32: Uint32Array, w: Uint32Array, group: number, which: number): number {
  const jobs = w[KvRowsWord.jobs];
  return jobs + u32[jobs + JOB_WORDS * (u32[group] + w[KvRowsWord.layer]) + which];
}

export function runKvReadRows(machine: Machine, w: Uint32Array): void {
  const { u16, u32, f32 } = machine;
  const { kvHeads, page: { headDim, dtype } } = readPages(w, KvRowsWord.pages);
  const layout = layoutOf(w), { channel } = layout;
  const table = widened(), isHalf = dtype === "f16";
  const rows = w[KvRowsWord.rows] >>> 2, cols = w[KvRowsWord.cols], count = cols / headDim;
  const [first, last] = machine.share(w[KvRowsWord.groupCount]);
  for (let g = first; g < last; g++) {
    const group = w[KvRowsWord.groups] + KV_GROUP_WORDS * g,
      pages = tableOf(u32, w, group, JobWord.sourceTable);
    for (let i = 0; i < count; i++) {
      const slot = u32[group + 1] + i, index = Math.floor(slot / layout.pageSlots);
      const place = layout.base + u32[pages + index] * layout.page +
        (slot - index * layout.pageSlots) * layout.slot;
      for (let head = 0; head < kvHeads; head++) {
        let from = place + head * layout.head, to = rows + (g * kvHeads + head) * cols + i * headDim;
        const end = to + headDim;
        if (isHalf) { for (; to < end; to++, from += channel) f32[to] = table[u16[from]]; }
        else for (; to < end; to++, from += channel) f32[to] = f32[from];
      }
    }
  }
}

export function runKvWriteRows(machine: Machine, w: Uint32Array): void {
  const { u16, u32, f32 } = machine;
  const { kvHeads, page: { headDim, dtype } } = readPages(w, KvRowsWord.pages);
  const layout = layoutOf(w), { channel } = layout;
  const isHalf = dtype === "f16", half = new Float16Array(u16.buffer);
  const rows = w[KvRowsWord.rows] >>> 2;
  const [first, last] = machine.share(w[KvRowsWord.groupCount]);
  for (let g = first; g < last; g++) {
    const group = w[KvRowsWord.groups] + KV_GROUP_WORDS * g,
      pages = tableOf(u32, w, group, JobWord.targetTable);
    const slot = u32[group + 2], index = Math.floor(slot / layout.pageSlots);
    const place = layout.base + u32[pages + index] * layout.page +
      (slot - index * layout.pageSlots) * layout.slot;
    for (let head = 0; head < kvHeads; head++) {
      let from = rows + (g * kvHeads + head) * headDim, to = place + head * layout.head;
      const end = from + headDim;
      if (isHalf) {
        for (; from < end; from++, to += channel) half[to] = Math.max(-F16_MAX, Math.min(F16_MAX, f32[from]));
      } else for (; from < end; from++, to += channel) f32[to] = f32[from];
    }
  }
}
