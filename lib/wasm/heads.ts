/** KV heads of compression jobs and raw words of pages, as loops in TypeScript address them. */
import { JOB_WORDS, JobWord, KV_ELEMENT_BYTES } from "../ops/kv.ts";
import type { Kernels, Machine } from "./machine.ts";
import { halfBytes, headBytes, type PagesView } from "./page.ts";
import { storeKernels } from "./rope.ts";

/** Elements of the pool as numbers. */
export type Numbers = Float16Array | Float32Array;

/** One KV head in the pages of one table. Indices count elements of the pool's dtype. */
export class HeadPages {
  /** Between channels of a key; those of a value are neighbours. */
  readonly keyStride: number;
  readonly #first: number;
  readonly #valueOffset: number;
  readonly #pageElements: number;
  readonly #headDim: number;

  /** `table` is the word index of the page table. */
  constructor(readonly u32: Uint32Array, view: PagesView, head: number, readonly table: number) {
    const size = KV_ELEMENT_BYTES[view.page.dtype];
    this.keyStride = view.page.slots;
    this.#headDim = view.page.headDim;
    this.#first = (view.address + head * headBytes(view.page)) / size;
    this.#valueOffset = halfBytes(view.page) / size;
    this.#pageElements = view.pageBytes / size;
  }

  /** Channel 0 of a slot's key. */
  key(slot: number): number {
    const page = Math.floor(slot / this.keyStride);
    return this.#first + this.u32[this.table + page] * this.#pageElements + slot - page * this.keyStride;
  }

  /** Channel 0 of a slot's value. */
  value(slot: number): number {
    const page = Math.floor(slot / this.keyStride);
    return this.#first + this.u32[this.table + page] * this.#pageElements + this.#valueOffset +
      (slot - page * this.keyStride) * this.#headDim;
  }
}

/** Raw 32-bit words that lie in the pages of one table. */
export class RawPages {
  readonly #first: number;
  readonly #pageWords: number;

  constructor(readonly u32: Uint32Array, view: PagesView, readonly table: number) {
    this.#first = view.address >>> 2;
    this.#pageWords = view.pageBytes >>> 2;
  }

  /** Word index of word `word`; those after it follow up to the end of its page. */
  at(word: number): number {
    const page = Math.floor(word / this.#pageWords);
    return this.#first + this.u32[this.table + page] * this.#pageWords + word - page * this.#pageWords;
  }

  /** Calls `part(address, offset, count)` for runs of neighbouring words that make up [word, word + count). */
  runs(word: number, count: number, part: (at: number, offset: number, count: number) => void): void {
    for (let done = 0; done < count;) {
      const run = Math.min(count - done, this.#pageWords - (word + done) % this.#pageWords);
      part(this.at(word + done), done, run);
      done += run;
    }
  }
}

/** One layer of one sequence. Read once for every head of it, so it makes nothing that is not asked for. */
export class Job {
  readonly slots: number;
  readonly kept: number;
  /** Word indices of the page tables. */
  readonly sourceTable: number;
  readonly targetTable: number;
  readonly keepBase: number;
  readonly #u32: Uint32Array;
  readonly #view: PagesView;
  readonly #keepTable: number;

  /** `base` is the word index of KvJobs' array. */
  constructor({ u32 }: Machine, view: PagesView, base: number, readonly index: number) {
    const at = base + JOB_WORDS * index;
    this.slots = u32[at + JobWord.slots];
    this.kept = u32[at + JobWord.kept];
    this.sourceTable = base + u32[at + JobWord.sourceTable];
    this.targetTable = base + u32[at + JobWord.targetTable];
    this.keepBase = u32[at + JobWord.keepBase];
    this.#keepTable = base + u32[at + JobWord.keepTable];
    this.#u32 = u32;
    this.#view = view;
  }

  source(head: number): HeadPages {
    return new HeadPages(this.#u32, this.#view, head, this.sourceTable);
  }

  target(head: number): HeadPages {
    return new HeadPages(this.#u32, this.#view, head, this.targetTable);
  }

  get keep(): RawPages {
    return new RawPages(this.#u32, this.#view, this.#keepTable);
  }
}

/** Pages with the kernels that walk through them. */
export interface WalkedPages extends PagesView {
  readonly kernels: Kernels;
}

/** The stored pages of one head, as kernels walk through them. */
export class PageWalk {
  readonly kernels: Kernels;
  /** Byte address of the page table. */
  readonly table: number;
  /** Byte address of the head in page 0. */
  readonly head: number;
  /** Table, pages, head, bytes of a page: of all pages with stored slots. */
  readonly whole: readonly [table: number, pages: number, head: number, pageBytes: number];
  readonly #machine: Machine;
  readonly #view: PagesView;
  readonly #slots: number;

  constructor(machine: Machine, view: WalkedPages, job: Job, head: number) {
    this.kernels = view.kernels;
    this.table = job.sourceTable * 4;
    this.head = view.address + head * headBytes(view.page);
    this.whole = [this.table, Math.ceil(job.slots / view.page.slots), this.head, view.pageBytes];
    this.#machine = machine;
    this.#view = view;
    this.#slots = job.slots;
  }

  /** Keys and values of all stored slots as f32 rows, copied through a page's room in scratch. */
  rows(): HeadRows {
    const { f32, scratch } = this.#machine, { pageBytes, page: { slots, headDim } } = this.#view;
    const elements = slots * headDim, first = scratch >>> 2;
    const keys = new Float32Array(this.#slots * headDim), values = new Float32Array(this.#slots * headDim);
    for (let page = 0; page < this.whole[1]; page++) {
      this.kernels.unpack(this.table + 4 * page, 1, this.head, pageBytes, scratch, scratch + 4 * elements);
      const stored = Math.min(elements, keys.length - page * elements);
      keys.set(f32.subarray(first, first + stored), page * elements);
      values.set(f32.subarray(first + elements, first + elements + stored), page * elements);
    }
    return { keys, values };
  }
}

/** Rows [slot][headDim]. */
export interface HeadRows {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** Writes f32 rows into the target slots of one head of a job. */
export class SlotWriter {
  /** Row to be written next: a key and, behind it, a value. */
  readonly row: Float32Array;
  readonly #store: (slot: number) => void;

  constructor(machine: Machine, view: PagesView, job: Job, head: number) {
    const { headDim, slots } = view.page, { u32, scratch } = machine;
    const { store } = storeKernels(machine, view.page), table = job.targetTable;
    const at = view.address + head * headBytes(view.page);
    this.row = machine.f32.subarray(scratch >>> 2, (scratch >>> 2) + 2 * headDim);
    this.#store = (slot) => {
      const page = u32[table + Math.floor(slot / slots)];
      store(scratch, scratch + 4 * headDim, at + page * view.pageBytes, slot % slots, 1);
    };
  }

  write(slot: number): void {
    this.#store(slot);
  }
}

/** Elements as numbers. */
export function numbers(machine: Machine, view: PagesView): Numbers {
  return view.page.dtype === "f16" ? machine.f16 : machine.f32;
}
