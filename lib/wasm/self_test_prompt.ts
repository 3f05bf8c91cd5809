/** What the self-test's compression works on: a prompt whose keys and values lie in pages, and the tables that say where. */
import type { HeadShape, Step } from "../ops/backend.ts";
import { JOB_WORDS, KEEP_WORDS, type KvDtype, type KvJobs, PACK_SLOTS } from "../ops/kv.ts";

/** More than a group that is packed, and a page that is not full. */
export const SLOTS = PACK_SLOTS + 5;
export const HEADS = { heads: 4, kvHeads: 2 };
export const GROUP = HEADS.heads / HEADS.kvHeads;
/** As in the attention's test: roundings to f16 fall on other sides. */
export const ERROR_MAX_F16 = 5e-4;

export function qkvCols(headDim: number): number {
  return (HEADS.heads + 2 * HEADS.kvHeads) * headDim;
}

/** The prompt: rows of qkv, and its keys and values by KV head as pages hold them. */
export class Prompt {
  readonly shape: HeadShape;
  readonly cols: number;
  readonly keys: readonly ArrayLike<number>[][];
  readonly values: readonly ArrayLike<number>[][];
  readonly scale: number;

  /** `qkv` [SLOTS, (heads + 2·kvHeads)·headDim]. */
  constructor(readonly dtype: KvDtype, readonly headDim: number, readonly qkv: Float32Array) {
    this.shape = { ...HEADS, headDim };
    this.cols = qkvCols(headDim);
    this.scale = 1 / Math.sqrt(headDim);
    const stored = (first: number) =>
      Array.from({ length: HEADS.kvHeads }, (_, head) =>
        Array.from({ length: SLOTS }, (_, slot) => {
          const row = this.#row(slot, first + head);
          return dtype === "f16" ? Float16Array.from(row) : row;
        }));
    this.keys = stored(HEADS.heads);
    this.values = stored(HEADS.heads + HEADS.kvHeads);
  }

  query(slot: number, head: number): Float32Array {
    return this.#row(slot, head);
  }

  #row(slot: number, head: number): Float32Array {
    const at = slot * this.cols + head * this.headDim;
    return this.qkv.subarray(at, at + this.headDim);
  }
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let d = 0; d < a.length; d++) sum += a[d] * b[d];
  return sum;
}

export function softmax(logits: readonly number[]): number[] {
  const largest = Math.max(...logits), weights = logits.map((logit) => Math.exp(logit - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** Deals out pages, each table in reverse, so that tables are really read. */
export class Deck {
  #next = 0;

  pages(count: number): number[] {
    this.#next += count;
    return Array.from({ length: count }, (_, i) => this.#next - 1 - i);
  }
}

interface JobTables {
  readonly slots: number;
  readonly kept: number;
  readonly source: readonly number[];
  readonly target: readonly number[];
  readonly keep: readonly number[];
}

/** One job of one layer. */
export function jobOf(step: Step, { slots, kept, source, target, keep }: JobTables): KvJobs {
  const targetAt = JOB_WORDS + source.length, keepAt = targetAt + target.length;
  const words = [slots, kept, JOB_WORDS, targetAt, keepAt, 0, ...source, ...target, ...keep];
  return { indices: step.indices(Uint32Array.from(words)), jobs: 1, slotsMax: slots, keptMax: kept };
}

/** `tokens` tokens of one sequence behind `stored` slots. */
export function mapOf(step: Step, stored: number, tokens: number, table: readonly number[]) {
  const header = tokens + 4;
  const words = [...new Array<number>(tokens).fill(0), 0, tokens, stored, header, ...table];
  return { indices: step.indices(Uint32Array.from(words)), tokens, sequences: 1, layers: 1 };
}

export function keepsOf(step: Step, table: readonly number[], setting = 0) {
  return { indices: step.indices(Uint32Array.of(0, KEEP_WORDS, SLOTS, setting, ...table)), count: 1 };
}
