/**
 * kv_norm, kv_top, kv_gather, kv_mean over pages. Scores, selections and copies are a small share of a compress step and
 * run as plain TypeScript on the shared memory. Threads take whole heads of whole jobs, in turn.
 */
import type { Machine } from "./machine.ts";
import { halfBytes, headBytes, PAGES_WORDS, type PagesView, readPages } from "./page.ts";
import { KV_ELEMENT_BYTES } from "../ops/kv.ts";

/** Jobs: word index of KvJobs' array, number of jobs, most stored and most kept slots; then the operation's operand. */
export const JOBS_WORDS = 4;
export const CompressWord = {
  pages: 0,
  jobs: PAGES_WORDS,
  operand: PAGES_WORDS + JOBS_WORDS,
} as const;

interface Job {
  readonly stored: number;
  readonly kept: number;
  /** Row of scores or kept slots. */
  readonly row: number;
  /** Element index of channel `d` of the key, or of the value, of a slot. */
  readonly sourceKey: (slot: number, d: number) => number;
  readonly sourceValue: (slot: number, d: number) => number;
  readonly targetKey: (slot: number, d: number) => number;
  readonly targetValue: (slot: number, d: number) => number;
}

type Elements = Uint16Array | Uint32Array;

function eachHead(machine: Machine, w: Uint32Array, visit: (job: Job, view: PagesView) => void): void {
  const view = readPages(w, CompressWord.pages);
  const [base, jobs] = w.subarray(CompressWord.jobs, CompressWord.jobs + JOBS_WORDS);
  const { u32 } = machine;
  const { slots, headDim, dtype } = view.page;
  const size = KV_ELEMENT_BYTES[dtype];
  const pageElements = view.pageBytes / size, valueElements = halfBytes(view.page) / size;
  for (let row = 0; row < jobs * view.kvHeads; row++) {
    if (row % machine.sharers !== machine.thread) continue;
    const at = base + 4 * Math.floor(row / view.kvHeads);
    const head = (view.address + row % view.kvHeads * headBytes(view.page)) / size;
    const place = (table: number, slot: number) =>
      head + u32[table + Math.floor(slot / slots)] * pageElements;
    const key = (table: number) => (slot: number, d: number) => place(table, slot) + d * slots + slot % slots;
    const value = (table: number) => (slot: number, d: number) =>
      place(table, slot) + valueElements + slot % slots * headDim + d;
    const source = base + u32[at + 2], target = base + u32[at + 3];
    visit({
      stored: u32[at],
      kept: u32[at + 1],
      row,
      sourceKey: key(source),
      sourceValue: value(source),
      targetKey: key(target),
      targetValue: value(target),
    }, view);
  }
}

/** Elements as bits, for copies. */
function bits(machine: Machine, view: PagesView): Elements {
  return view.page.dtype === "f16" ? machine.u16 : machine.u32;
}

/** Elements as numbers. */
function numbers(machine: Machine, view: PagesView): Float16Array | Float32Array {
  return view.page.dtype === "f16" ? new Float16Array(machine.u16.buffer) : machine.f32;
}

/** scores[row, slot] = −‖key‖₂. */
export function runKvNorm(machine: Machine, w: Uint32Array): void {
  const scores = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 2];
  eachHead(machine, w, (job, view) => {
    const values = numbers(machine, view);
    for (let slot = 0; slot < job.stored; slot++) {
      let sum = 0;
      for (let d = 0; d < view.page.headDim; d++) sum += values[job.sourceKey(slot, d)] ** 2;
      machine.f32[scores + job.row * width + slot] = -Math.sqrt(sum);
    }
  });
}

/** Words of a recorded kv_top: it reads scores, not pages. */
export const TopWord = { kvHeads: 0, jobs: 1, scores: 1 + JOBS_WORDS, kept: 2 + JOBS_WORDS } as const;

/** The `kept` slots with the largest scores, ascending; ties to the lower slot. */
export function runKvTop(machine: Machine, w: Uint32Array): void {
  const [base, jobs, scoreWidth, keptWidth] = w.subarray(TopWord.jobs, TopWord.jobs + JOBS_WORDS);
  const kvHeads = w[TopWord.kvHeads];
  for (let row = machine.thread; row < jobs * kvHeads; row += machine.sharers) {
    const job = base + 4 * Math.floor(row / kvHeads);
    const begin = (w[TopWord.scores] >>> 2) + row * scoreWidth;
    const scores = machine.f32.slice(begin, begin + machine.u32[job]);
    const order = Uint32Array.from(scores, (_, slot) => slot).sort((a, b) => scores[b] - scores[a] || a - b);
    machine.u32.set(
      order.subarray(0, machine.u32[job + 1]).sort(),
      (w[TopWord.kept] >>> 2) + row * keptWidth,
    );
  }
}

/** Target slot i = source slot kept[i]. */
export function runKvGather(machine: Machine, w: Uint32Array): void {
  const kept = w[CompressWord.operand] >>> 2, width = w[CompressWord.jobs + 3];
  eachHead(machine, w, (job, view) => {
    const elements = bits(machine, view);
    for (let i = 0; i < job.kept; i++) {
      copySlot(elements, job, view, machine.u32[kept + job.row * width + i], i);
    }
  });
}

function copySlot(elements: Elements, job: Job, view: PagesView, from: number, to: number): void {
  for (let d = 0; d < view.page.headDim; d++) {
    elements[job.targetKey(to, d)] = elements[job.sourceKey(from, d)];
    elements[job.targetValue(to, d)] = elements[job.sourceValue(from, d)];
  }
}

/** Means of `factor` consecutive slots; the remainder is copied. */
export function runKvMean(machine: Machine, w: Uint32Array): void {
  const factor = w[CompressWord.operand];
  eachHead(machine, w, (job, view) => {
    const values = numbers(machine, view), elements = bits(machine, view);
    const groups = Math.floor(job.stored / factor);
    const mean = (at: (slot: number, d: number) => number, group: number, d: number) => {
      let sum = 0;
      for (let i = 0; i < factor; i++) sum += values[at(group * factor + i, d)];
      return sum / factor;
    };
    for (let group = 0; group < groups; group++) {
      for (let d = 0; d < view.page.headDim; d++) {
        values[job.targetKey(group, d)] = mean(job.sourceKey, group, d);
        values[job.targetValue(group, d)] = mean(job.sourceValue, group, d);
      }
    }
    for (let slot = groups * factor; slot < job.stored; slot++) {
      copySlot(elements, job, view, slot, groups + slot - groups * factor);
    }
  });
}
