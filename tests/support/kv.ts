/** KV pools, maps and jobs as the operations take them, and a way to look into a pool through operations alone. */
import type { HeadShape, Step } from "../../lib/ops/backend.ts";
import {
  JOB_WORDS,
  KV_ELEMENT_BYTES,
  type KvDtype,
  type KvJobs,
  type KvMap,
  type KvPages,
  type KvShape,
} from "../../lib/ops/kv.ts";
import type { Tensor } from "../../lib/ops/tensor.ts";
import { identityRotary } from "./cases.ts";

export function kvShape(dtype: KvDtype, heads: HeadShape, pageCount: number, pageSlots = 16): KvShape {
  const { kvHeads, headDim } = heads;
  const pageBytes = pageSlots * 2 * kvHeads * headDim * KV_ELEMENT_BYTES[dtype];
  return { dtype, kvHeads, headDim, pageBytes, pageSlots, pageCount };
}

/** Columns of a fused projection's row. */
export function qkvCols({ heads, kvHeads, headDim }: HeadShape): number {
  return (heads + 2 * kvHeads) * headDim;
}

/** One sequence of a ragged batch: its tokens now, and per layer the slots stored before and the page table. */
export interface BatchSequence {
  readonly tokens: number;
  readonly slotBase: readonly number[];
  readonly tables: readonly (readonly number[])[];
}

export function kvMap(step: Step, sequences: readonly BatchSequence[]): KvMap {
  const layers = sequences[0].tables.length, count = sequences.length;
  const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens, 0);
  const owners: number[] = [], firsts: number[] = [], tables: number[] = [];
  const perLayer: number[] = new Array(layers * 2 * count);
  const header = tokens + count + 1 + perLayer.length;
  for (const [s, sequence] of sequences.entries()) {
    firsts.push(owners.length);
    for (let t = 0; t < sequence.tokens; t++) owners.push(s);
    for (let layer = 0; layer < layers; layer++) {
      perLayer[layer * 2 * count + s] = sequence.slotBase[layer];
      perLayer[layer * 2 * count + count + s] = header + tables.length;
      tables.push(...sequence.tables[layer]);
    }
  }
  const words = Uint32Array.from([...owners, ...firsts, tokens, ...perLayer, ...tables]);
  return { indices: step.indices(words), tokens, sequences: count, layers };
}

export interface JobSpec {
  readonly slots: number;
  readonly kept: number;
  readonly source: readonly number[];
  readonly target: readonly number[];
  /** Pages of what prefill kept, and the word where the job's layer begins; none without. */
  readonly keep?: readonly number[];
  readonly keepBase?: number;
}

export function kvJobs(step: Step, jobs: readonly JobSpec[]): KvJobs {
  const facts: number[] = [], tables: number[] = [];
  for (const { slots, kept, source, target, keep = [], keepBase = 0 } of jobs) {
    const at = JOB_WORDS * jobs.length + tables.length, behind = at + source.length;
    facts.push(slots, kept, at, behind, behind + target.length, keepBase);
    tables.push(...source, ...target, ...keep);
  }
  return {
    indices: step.indices(Uint32Array.from([...facts, ...tables])),
    jobs: jobs.length,
    slotsMax: Math.max(...jobs.map((job) => job.slots)),
    keptMax: Math.max(...jobs.map((job) => job.kept)),
  };
}

/** Stores rows [n, K of all KV heads, then V of all] unrotated, from `firstSlot` on. */
export function storeRows(
  step: Step,
  pages: KvPages,
  table: readonly number[],
  firstSlot: number,
  rows: Float32Array,
): void {
  const { kvHeads, headDim } = pages.shape;
  const shape = { heads: kvHeads, kvHeads, headDim };
  const cols = qkvCols(shape), stored = 2 * kvHeads * headDim, tokens = rows.length / stored;
  const qkv = new Float32Array(tokens * cols);
  for (let t = 0; t < tokens; t++) {
    qkv.set(rows.subarray(t * stored, (t + 1) * stored), t * cols + cols - stored);
  }
  step.ropeWriteKv({
    qkv: step.upload(tokens, cols, qkv),
    rotary: step.upload(tokens, headDim, identityRotary(tokens, headDim)),
    shape,
    pages,
    map: kvMap(step, [{ tokens, slotBase: [firstSlot], tables: [table] }]),
    layer: 0,
  });
}

/**
 * What attention reads from slots 0 … slots − 1 through a table, for `queries` [n, kvHeads · headDim] → [n, same].
 * Depends on every key and value of those slots.
 */
export function attendRows(
  step: Step,
  pages: KvPages,
  table: readonly number[],
  slots: number,
  queries: Float32Array,
): Tensor {
  const { kvHeads, headDim } = pages.shape;
  const shape = { heads: kvHeads, kvHeads, headDim };
  const cols = qkvCols(shape), width = kvHeads * headDim, count = queries.length / width;
  const qkv = new Float32Array(count * cols);
  for (let i = 0; i < count; i++) qkv.set(queries.subarray(i * width, (i + 1) * width), i * cols);
  const out = step.tensor(count, width);
  // A sequence of one token that sits in the last slot sees all of them; every query is a sequence of its own.
  const sequence: BatchSequence = { tokens: 1, slotBase: [slots - 1], tables: [table] };
  step.pagedAttention({
    qkv: step.upload(count, cols, qkv),
    shape,
    scale: 1 / Math.sqrt(headDim),
    pages,
    map: kvMap(step, Array.from({ length: count }, () => sequence)),
    layer: 0,
    out,
  });
  return out;
}

/**
 * The values of slots 0 … slots − 1, exactly: [slots, kvHeads · headDim]. Each slot is copied to slot 0 of a page of
 * `spare` (one a slot), where attention over it alone returns its value.
 */
export function readValues(
  step: Step,
  pages: KvPages,
  table: readonly number[],
  slots: number,
  spare: readonly number[],
): Tensor {
  const { kvHeads, headDim } = pages.shape;
  const shape = { heads: kvHeads, kvHeads, headDim };
  const jobs = Array.from(
    { length: slots },
    (_, i) => ({ slots, kept: 1, source: table, target: [spare[i]] }),
  );
  const kept = Uint32Array.from({ length: slots * kvHeads }, (_, i) => Math.floor(i / kvHeads));
  step.kvGather({ pages, jobs: kvJobs(step, jobs), kept: step.uploadIndices(slots * kvHeads, 1, kept) });
  const out = step.tensor(slots, kvHeads * headDim);
  step.pagedAttention({
    qkv: step.upload(slots, qkvCols(shape), new Float32Array(slots * qkvCols(shape))),
    shape,
    scale: 1,
    pages,
    map: kvMap(
      step,
      Array.from({ length: slots }, (_, i) => ({ tokens: 1, slotBase: [0], tables: [[spare[i]]] })),
    ),
    layer: 0,
    out,
  });
  return out;
}
