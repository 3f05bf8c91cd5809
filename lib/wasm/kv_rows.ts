/**
 * kv_read_rows and kv_write_rows over pages: copies with a change of layout and width, as plain TypeScript on the shared
 * memory. Threads take whole groups.
 */
import { KV_ELEMENT_BYTES, KV_GROUP_WORDS, type KvPart } from "../ops/kv.ts";
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

/** Words of a job's record that name its tables. */
const SOURCE_TABLE = 2, TARGET_TABLE = 3, JOB_WORDS = 4;

/** Every half as f32: a look-up takes half the time of reading through a Float16Array (Deno 2.9). */
let halves: Float32Array | null = null;

function widened(): Float32Array {
  halves ??= Float32Array.from(
    new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
  );
  return halves;
}

/** Visits each group and head of a thread's share: its row, and where a slot of it begins, as an element index. */
function eachRow(
  machine: Machine,
  w: Uint32Array,
  table: typeof SOURCE_TABLE | typeof TARGET_TABLE,
  visit: (row: number, group: number, place: (slot: number) => number) => void,
): void {
  const { u32 } = machine;
  const { address, pageBytes, kvHeads, page } = readPages(w, KvRowsWord.pages);
  const { slots, headDim, dtype } = page;
  const size = KV_ELEMENT_BYTES[dtype], pageElements = pageBytes / size;
  const isKey = KV_PARTS[w[KvRowsWord.part]] === "key", step = isKey ? 1 : headDim;
  const base = (address + (isKey ? 0 : halfBytes(page))) / size, headElements = headBytes(page) / size;
  const jobs = w[KvRowsWord.jobs];
  let pages = 0, head = 0;
  const place = (slot: number) => {
    const index = Math.floor(slot / slots);
    return base + u32[pages + index] * pageElements + head * headElements + (slot - index * slots) * step;
  };
  const [first, last] = machine.share(w[KvRowsWord.groupCount]);
  for (let group = first; group < last; group++) {
    const at = w[KvRowsWord.groups] + KV_GROUP_WORDS * group;
    pages = jobs + u32[jobs + JOB_WORDS * (u32[at] + w[KvRowsWord.layer]) + table];
    for (head = 0; head < kvHeads; head++) visit(group * kvHeads + head, at, place);
  }
}

export function runKvReadRows(machine: Machine, w: Uint32Array): void {
  const { u16, u32, f32 } = machine;
  const { headDim, slots, dtype } = readPages(w, KvRowsWord.pages).page;
  const table = widened(), isHalf = dtype === "f16";
  // Keys are transposed: the channels of one slot lie a page's slots apart.
  const stride = KV_PARTS[w[KvRowsWord.part]] === "key" ? slots : 1;
  const rows = w[KvRowsWord.rows] >>> 2, cols = w[KvRowsWord.cols], count = cols / headDim;
  eachRow(machine, w, SOURCE_TABLE, (row, group, place) => {
    let to = rows + row * cols;
    for (let i = 0; i < count; i++) {
      let from = place(u32[group + 1] + i);
      const end = to + headDim;
      if (isHalf) { for (; to < end; to++, from += stride) f32[to] = table[u16[from]]; }
      else for (; to < end; to++, from += stride) f32[to] = f32[from];
    }
  });
}

export function runKvWriteRows(machine: Machine, w: Uint32Array): void {
  const { u16, u32, f32 } = machine;
  const { headDim, slots, dtype } = readPages(w, KvRowsWord.pages).page;
  const isHalf = dtype === "f16", half = new Float16Array(u16.buffer);
  const stride = KV_PARTS[w[KvRowsWord.part]] === "key" ? slots : 1;
  const rows = w[KvRowsWord.rows] >>> 2;
  eachRow(machine, w, TARGET_TABLE, (row, group, place) => {
    let from = rows + row * headDim, to = place(u32[group + 2]);
    const end = from + headDim;
    if (isHalf) {
      for (; from < end; from++, to += stride) half[to] = Math.max(-F16_MAX, Math.min(F16_MAX, f32[from]));
    } else for (; from < end; from++, to += stride) f32[to] = f32[from];
  });
}
