/** The oracle's KV pool: [page][slot][K, V][KV head][head dim], rounded to its dtype on the way in. */
import { assert } from "../../lib/core/assert.ts";
import {
  firstTokenOffset,
  JOB_WORDS,
  JobWord,
  KEEP_WORDS,
  KeepWord,
  KV_ELEMENT_BYTES,
  type KvJobs,
  type KvKeeps,
  type KvMap,
  type KvPages,
  type KvShape,
  slotBaseOffset,
  tableStartOffset,
} from "../../lib/ops/kv.ts";

/** The largest finite f16. Greater values are stored as this one, so that one outlier does not make a cache infinite. */
const F16_MAX = 65504;

export class HostKvPages implements KvPages {
  readonly values: Float16Array | Float32Array;
  live = true;

  readonly #raw: Float32Array;
  /** The pool as raw words. */
  readonly words: Uint32Array;

  constructor(readonly shape: KvShape) {
    const { dtype, pageSlots, kvHeads, headDim, pageCount, pageBytes } = shape;
    const elements = pageSlots * 2 * kvHeads * headDim;
    assert(elements * KV_ELEMENT_BYTES[dtype] === pageBytes, "the bytes of a page are its slots");
    this.values = dtype === "f16"
      ? new Float16Array(pageCount * elements)
      : new Float32Array(pageCount * elements);
    this.#raw = new Float32Array(this.values.buffer);
    this.words = new Uint32Array(this.values.buffer);
  }

  /** Index, in raw words of the pool, of word `word` of pages that a table lists. */
  rawAt(table: Table, word: number): number {
    const pageWords = this.shape.pageBytes / 4, page = table(Math.floor(word / pageWords));
    assert(page < this.shape.pageCount, `page ${page} is in the pool`);
    return page * pageWords + word % pageWords;
  }

  /** f32 values that lie in pages as raw words. */
  readRaw(table: Table, word: number, count: number): Float64Array {
    return Float64Array.from({ length: count }, (_, i) => this.#raw[this.rawAt(table, word + i)]);
  }

  writeRaw(table: Table, word: number, values: ArrayLike<number>): void {
    for (let i = 0; i < values.length; i++) this.#raw[this.rawAt(table, word + i)] = values[i];
  }

  /** Index of the first number of one head's key (or value) in a slot, found through a page table. */
  #at(table: Table, slot: number, part: "key" | "value", head: number): number {
    const { pageSlots, kvHeads, headDim, pageCount } = this.shape;
    const page = table(Math.floor(slot / pageSlots));
    assert(page < pageCount, `page ${page} is in the pool`);
    const flat = (page * pageSlots + slot % pageSlots) * 2 + (part === "key" ? 0 : 1);
    return (flat * kvHeads + head) * headDim;
  }

  /** One head's key or value in a slot: a window onto the pool, [headDim]. */
  read(table: Table, slot: number, part: "key" | "value", head: number): Float16Array | Float32Array {
    const at = this.#at(table, slot, part, head);
    return this.values.subarray(at, at + this.shape.headDim);
  }

  /** Stores numbers, rounded to the pool's dtype. */
  write(table: Table, slot: number, part: "key" | "value", head: number, values: ArrayLike<number>): void {
    const at = this.#at(table, slot, part, head);
    for (let d = 0; d < this.shape.headDim; d++) {
      const value = values[d];
      this.values[at + d] = this.shape.dtype === "f16" ? Math.max(-F16_MAX, Math.min(F16_MAX, value)) : value;
    }
  }
}

/** Page number of the i-th page of one sequence in one layer. */
export type Table = (index: number) => number;

/** One sequence's tokens [first, end) of a batch and where one layer of it is stored. */
export interface MappedSequence {
  readonly first: number;
  readonly end: number;
  /** Slots stored before this step. */
  readonly slotBase: number;
  readonly table: Table;
}

/** The sequences of a batch as one layer sees them. */
export function mappedSequences(map: KvMap, layer: number): MappedSequence[] {
  const words = map.indices.values;
  assert(layer < map.layers, "the layer is in the map");
  const firstToken = firstTokenOffset(map);
  assert(words[firstToken + map.sequences] === map.tokens, "the sequences cover all tokens");
  return Array.from({ length: map.sequences }, (_, s) => {
    const start = words[tableStartOffset(map, layer) + s];
    const [first, end] = [words[firstToken + s], words[firstToken + s + 1]];
    for (let t = first; t < end; t++) assert(words[t] === s, "each token names its sequence");
    return {
      first,
      end,
      slotBase: words[slotBaseOffset(map, layer) + s],
      table: (index) => words[start + index],
    };
  });
}

/** One layer of one sequence to compress. */
export interface Job {
  readonly slots: number;
  readonly kept: number;
  readonly source: Table;
  readonly target: Table;
  /** Pages of what prefill kept, and the word where this layer's part begins. */
  readonly keep: Table;
  readonly keepBase: number;
}

export function listJobs({ indices: { values }, jobs, slotsMax, keptMax }: KvJobs): Job[] {
  return Array.from({ length: jobs }, (_, j) => {
    const record = values.subarray(JOB_WORDS * j, JOB_WORDS * (j + 1));
    const slots = record[JobWord.slots], kept = record[JobWord.kept];
    const table = (word: number) => (index: number) => values[record[word] + index];
    assert(slots <= slotsMax && kept <= keptMax && kept <= slots, "a job stays below the stated maxima");
    return {
      slots,
      kept,
      source: table(JobWord.sourceTable),
      target: table(JobWord.targetTable),
      keep: table(JobWord.keepTable),
      keepBase: record[JobWord.keepBase],
    };
  });
}

/** A sequence of a step for which something is kept. */
export interface Keep {
  readonly mapped: MappedSequence;
  readonly table: Table;
  readonly promptTokens: number;
  readonly setting: number;
}

export function listKeeps({ indices: { values }, count }: KvKeeps, map: KvMap, layer: number): Keep[] {
  const sequences = mappedSequences(map, layer);
  return Array.from({ length: count }, (_, k) => {
    const record = values.subarray(KEEP_WORDS * k, KEEP_WORDS * (k + 1));
    return {
      mapped: sequences[record[KeepWord.sequence]],
      table: (index) => values[record[KeepWord.table] + index],
      promptTokens: record[KeepWord.promptTokens],
      setting: record[KeepWord.setting],
    };
  });
}

/** The pool behind a handle of this backend. */
export function pool(pages: KvPages): HostKvPages {
  assert(pages instanceof HostKvPages, "the pool was made by this backend");
  assert(pages.live, "the pool was not destroyed");
  return pages;
}
