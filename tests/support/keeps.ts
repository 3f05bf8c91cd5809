/** What prefill keeps, as the operations take it, and a way to read it back through an operation. */
import type { Step } from "../../lib/ops/backend.ts";
import { KEEP_WORDS, type KvKeeps, type KvMap, type KvPages } from "../../lib/ops/kv.ts";
import type { HeadShape } from "../../lib/ops/backend.ts";
import type { Tensor } from "../../lib/ops/tensor.ts";
import type { Draw } from "./cases.ts";
import { randomRotary } from "./cases.ts";
import { type BatchSequence, kvJobs, kvMap, qkvCols } from "./kv.ts";

export interface KeepSpec {
  readonly sequence: number;
  readonly table: readonly number[];
  readonly promptTokens: number;
  readonly setting: number;
}

export function kvKeeps(step: Step, records: readonly KeepSpec[]): KvKeeps {
  const facts: number[] = [], tables: number[] = [];
  for (const { sequence, table, promptTokens, setting } of records) {
    facts.push(sequence, KEEP_WORDS * records.length + tables.length, promptTokens, setting);
    tables.push(...table);
  }
  return { indices: step.indices(Uint32Array.from([...facts, ...tables])), count: records.length };
}

/** The first `words` words, f32, of pages that a table lists: [kvHeads, words / kvHeads]. `words` is a multiple of kvHeads. */
export function readRaw(step: Step, pages: KvPages, table: readonly number[], words: number): Tensor {
  const { kvHeads, headDim } = pages.shape, slots = words / kvHeads;
  const scores = step.tensor(kvHeads, slots);
  const jobs = kvJobs(step, [{ slots, kept: 1, source: [], target: [], keep: table }]);
  step.kvColumns({
    pages,
    jobs,
    shape: { heads: kvHeads, kvHeads, headDim },
    seen: false,
    bias: null,
    scores,
  });
  return scores;
}

/** Random projections of the step's tokens, rotated by random angles, their keys and values stored in layer `layer`. */
export function prefilled(
  step: Step,
  draw: Draw,
  pages: KvPages,
  shape: HeadShape,
  sequences: readonly BatchSequence[],
  layer: number,
): { readonly qkv: Tensor; readonly map: KvMap } {
  const map = kvMap(step, sequences), { tokens } = map;
  const qkv = step.upload(tokens, qkvCols(shape), draw.normal(tokens * qkvCols(shape)));
  const rotary = step.upload(tokens, shape.headDim, randomRotary(draw, tokens, shape.headDim));
  step.ropeWriteKv({ qkv, rotary, shape, pages, map, layer });
  return { qkv, map };
}
