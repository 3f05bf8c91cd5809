/** Turns sequences to compress into jobs, one a layer, and records their method. */
import { assert, unreachable } from "../../core/assert.ts";
import type { Step } from "../../ops/backend.ts";
import type { KvPages } from "../../ops/kv.ts";
import type { CompressSequence } from "../engine.ts";
import { recordKnorm } from "./knorm.ts";
import type { LearnedMethod } from "./learned.ts";
import { meanPoolFactor, recordMeanPool } from "./mean_pool.ts";
import { recordStreaming } from "./streaming.ts";

/** Records all sequences; those of equal method (and ratio, where the method is defined by it) run as one batch. */
export function recordCompression(
  step: Step,
  pages: KvPages,
  sequences: readonly CompressSequence[],
  learned: readonly LearnedMethod[] = [],
): void {
  const groups = new Map<string, CompressSequence[]>();
  for (const sequence of sequences) {
    const byRatio = sequence.method === "mean-pool" || sequence.method === "learned";
    const key = byRatio ? `${sequence.method} ${sequence.ratio}` : sequence.method;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [sequence]);
    else group.push(sequence);
  }
  for (const group of groups.values()) recordGroup(step, pages, group, learned);
}

function recordGroup(
  step: Step,
  pages: KvPages,
  group: readonly CompressSequence[],
  learned: readonly LearnedMethod[],
): void {
  const { method, ratio } = group[0];
  const packed = packJobs(group);
  const jobs = { ...packed, indices: step.indices(packed.words) };
  switch (method) {
    case "streaming":
      return recordStreaming(step, pages, jobs);
    case "knorm":
      return recordKnorm(step, pages, jobs);
    case "mean-pool":
      return recordMeanPool(step, pages, jobs, ratio);
    case "learned": {
      const trained = learned.find(({ facts }) => facts.factor === meanPoolFactor(ratio));
      assert(trained !== undefined, "a factor was trained before it is taken");
      return trained.record(step, pages, jobs, group.map(promptOf));
    }
    default:
      return unreachable(method);
  }
}

/** Every layer of a sequence that is compressed by segments stores its whole prompt. */
function promptOf({ slots, kept, images }: CompressSequence) {
  assert(slots.every((count) => count === slots[0]), "every layer stores the prompt");
  return { slots: slots[0], kept: kept[0], images };
}

/** The u32 array of KvJobs: layers of one sequence are adjacent jobs. */
export function packJobs(
  group: readonly CompressSequence[],
): { words: Uint32Array; jobs: number; slotsMax: number; keptMax: number } {
  const jobs = group.reduce((sum, sequence) => sum + sequence.slots.length, 0);
  const tables = group.flatMap((sequence) => [...sequence.sourceTables, ...sequence.targetTables]);
  const words = new Uint32Array(4 * jobs + tables.reduce((sum, table) => sum + table.length, 0));
  let job = 0, at = 4 * jobs, slotsMax = 0, keptMax = 0;
  const place = (table: Uint32Array) => {
    words.set(table, at);
    at += table.length;
    return at - table.length;
  };
  for (const sequence of group) {
    for (let layer = 0; layer < sequence.slots.length; layer++, job++) {
      const slots = sequence.slots[layer], kept = sequence.kept[layer];
      assert(kept > 0 && kept <= slots, "between one and all slots are kept");
      words[4 * job] = slots;
      words[4 * job + 1] = kept;
      words[4 * job + 2] = place(sequence.sourceTables[layer]);
      words[4 * job + 3] = place(sequence.targetTables[layer]);
      slotsMax = Math.max(slotsMax, slots);
      keptMax = Math.max(keptMax, kept);
    }
  }
  return { words, jobs, slotsMax, keptMax };
}
