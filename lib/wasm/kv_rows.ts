/**
 * kv_read_rows and kv_write_rows over pages: copies with a change of layout and width, beside which the products of a
 * learned compressor are large. Threads take whole groups.
 */
import { KV_ELEMENT_BYTES, KV_GROUP_WORDS, type KvPart } from "../ops/kv.ts";
import type { Machine } from "./machine.ts";
import { halfBytes, headBytes, PAGES_WORDS, type PagesView, readPages } from "./page.ts";

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

export function runKvReadRows(machine: Machine, w: Uint32Array): void {
  const view = readPages(w, KvRowsWord.pages);
  const { headDim } = view.page;
  const pool = elements(machine, view), rows = w[KvRowsWord.rows] >>> 2, cols = w[KvRowsWord.cols];
  const { u32, f32 } = machine;
  const jobs = w[KvRowsWord.jobs], stride = strideOf(view, w);
  const [firstGroup, lastGroup] = machine.share(w[KvRowsWord.groupCount]);
  for (let group = firstGroup; group < lastGroup; group++) {
    const at = w[KvRowsWord.groups] + KV_GROUP_WORDS * group;
    const table = jobs + u32[jobs + 4 * (u32[at] + w[KvRowsWord.layer]) + 2];
    for (let head = 0; head < view.kvHeads; head++) {
      let to = rows + (group * view.kvHeads + head) * cols;
      for (let i = 0; i < cols / headDim; i++) {
        let from = place(view, w, u32, table, head, u32[at + 1] + i);
        for (let d = 0; d < headDim; d++, to++, from += stride) f32[to] = pool[from];
      }
    }
  }
}

export function runKvWriteRows(machine: Machine, w: Uint32Array): void {
  const view = readPages(w, KvRowsWord.pages);
  const { headDim, dtype } = view.page;
  const pool = elements(machine, view), rows = w[KvRowsWord.rows] >>> 2;
  const { u32, f32 } = machine;
  const jobs = w[KvRowsWord.jobs], stride = strideOf(view, w);
  const most = dtype === "f16" ? F16_MAX : Infinity;
  const [firstGroup, lastGroup] = machine.share(w[KvRowsWord.groupCount]);
  for (let group = firstGroup; group < lastGroup; group++) {
    const at = w[KvRowsWord.groups] + KV_GROUP_WORDS * group;
    const table = jobs + u32[jobs + 4 * (u32[at] + w[KvRowsWord.layer]) + 3];
    for (let head = 0; head < view.kvHeads; head++) {
      let from = rows + (group * view.kvHeads + head) * headDim;
      let to = place(view, w, u32, table, head, u32[at + 2]);
      for (let d = 0; d < headDim; d++, from++, to += stride) {
        pool[to] = Math.max(-most, Math.min(most, f32[from]));
      }
    }
  }
}

function elements(machine: Machine, view: PagesView): Float16Array | Float32Array {
  return view.page.dtype === "f16" ? new Float16Array(machine.u16.buffer) : machine.f32;
}

/** Elements from one channel of a slot to the next: keys are transposed. */
function strideOf(view: PagesView, w: Uint32Array): number {
  return KV_PARTS[w[KvRowsWord.part]] === "key" ? view.page.slots : 1;
}

/** Element index of channel 0 of a slot. */
function place(
  view: PagesView,
  w: Uint32Array,
  u32: Uint32Array,
  table: number,
  head: number,
  slot: number,
): number {
  const { slots, headDim, dtype } = view.page;
  const page = view.address + u32[table + Math.floor(slot / slots)] * view.pageBytes +
    head * headBytes(view.page);
  const within = slot % slots;
  return KV_PARTS[w[KvRowsWord.part]] === "key"
    ? page / KV_ELEMENT_BYTES[dtype] + within
    : (page + halfBytes(view.page)) / KV_ELEMENT_BYTES[dtype] + within * headDim;
}
