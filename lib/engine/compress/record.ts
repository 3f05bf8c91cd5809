/** Turns sequences to compress into jobs, one a layer, and records their method. */
import { assert } from "../../core/assert.ts";
import type { HeadShape, Step } from "../../ops/backend.ts";
import { JOB_WORDS, JobWord, type KvPages } from "../../ops/kv.ts";
import type { Tensor } from "../../ops/tensor.ts";
import type { CompressSequence } from "../engine.ts";
import type { Rotary } from "../rotary.ts";
import type { BatchPrompt } from "./method.ts";
import type { LearnedNetworks } from "./networks.ts";
import { METHODS } from "./mod.ts";
import { recordPacking } from "./pack.ts";
import { needLayerWords } from "./need.ts";

/** What compression reads of the model. */
export interface CompressModel {
  readonly pages: KvPages;
  readonly shape: HeadShape;
  readonly rotary: Rotary;
  readonly networks: readonly LearnedNetworks[];
}

/** Sees the slots chosen for some sequences, rows a layer and KV head, and returns those to use instead (tests). */
export type Choosing = (step: Step, kept: Tensor, group: readonly CompressSequence[]) => Tensor;

/** Records all sequences; those of equal method, settings and variant run as one batch. */
export function recordCompression(
  step: Step,
  model: CompressModel,
  sequences: readonly CompressSequence[],
  choosing: Choosing | null = null,
): void {
  const groups = new Map<string, CompressSequence[]>();
  for (const sequence of sequences) {
    const { method, settings, rerotate, quantise } = sequence.compression;
    const variant = METHODS[method].variant(promptOf(sequence), settings);
    const key = `${method} ${variant} ${rerotate} ${JSON.stringify([settings, quantise])}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [sequence]);
    else group.push(sequence);
  }
  for (const group of groups.values()) recordGroup(step, model, group, choosing);
}

function promptOf(
  { slots, kept, images, protect, seed, compression: { size } }: CompressSequence,
): BatchPrompt {
  return { slots, kept, images, protect, seed, size };
}

function recordGroup(
  step: Step,
  model: CompressModel,
  group: readonly CompressSequence[],
  choosing: Choosing | null,
): void {
  const { pages, shape, rotary, networks } = model;
  const { method, settings, rerotate } = group[0].compression;
  const { words, ...counts } = packJobs(group, shape);
  const jobs = { ...counts, indices: step.indices(words) };
  const chosen = (kept: Tensor) => choosing === null ? kept : choosing(step, kept, group);
  // What is looked at is read when the step ends.
  const dropChosen = (kept: Tensor) => choosing === null ? step.release(kept) : undefined;
  METHODS[method].record({
    ...{ step, pages, shape, jobs, rotary, networks, chosen, dropChosen },
    scale: 1 / Math.sqrt(shape.headDim),
    prompts: group.map(promptOf),
    gather(choice) {
      const kept = chosen(choice);
      const angles = rerotate
        ? step.upload(jobs.slotsMax, shape.headDim, rotary.firstRows(jobs.slotsMax))
        : null;
      step.kvGather({ pages, jobs, kept, rotary: angles });
      dropChosen(kept);
    },
  }, settings);
  recordPacking(step, pages, group);
}

/** The u32 array of KvJobs: layers of one sequence are adjacent jobs. */
export function packJobs(
  group: readonly CompressSequence[],
  shape: HeadShape,
): { words: Uint32Array; jobs: number; slotsMax: number; keptMax: number } {
  const jobs = group.reduce((sum, sequence) => sum + sequence.slots.length, 0);
  const tableWords = group.reduce(
    (sum, { sourceTables, targetTables, keep }) =>
      sum + (keep?.pages.length ?? 0) +
      [...sourceTables, ...targetTables].reduce((words, table) => words + table.length, 0),
    0,
  );
  const words = new Uint32Array(JOB_WORDS * jobs + tableWords);
  let job = 0, at = JOB_WORDS * jobs, slotsMax = 0, keptMax = 0;
  // Tables are short, and windows onto words dear: numbers are written one by one.
  const place = (table: Uint32Array) => {
    for (let i = 0; i < table.length; i++) words[at + i] = table[i];
    at += table.length;
    return at - table.length;
  };
  for (const { slots, kept, sourceTables, targetTables, keep } of group) {
    const keepTable = keep === null ? 0 : place(keep.pages);
    const keepWords = keep === null ? 0 : needLayerWords(keep.need, shape, keep.promptTokens);
    for (let layer = 0; layer < slots.length; layer++, job++) {
      const stored = slots[layer], remain = kept[layer];
      assert(remain > 0 && remain <= stored, "between one and all slots are kept");
      assert(keep === null || keep.promptTokens === stored, "what was kept is of all that is stored");
      const record = JOB_WORDS * job;
      words[record + JobWord.slots] = stored;
      words[record + JobWord.kept] = remain;
      words[record + JobWord.sourceTable] = place(sourceTables[layer]);
      words[record + JobWord.targetTable] = place(targetTables[layer]);
      words[record + JobWord.keepTable] = keepTable;
      words[record + JobWord.keepBase] = layer * keepWords;
      slotsMax = Math.max(slotsMax, stored);
      keptMax = Math.max(keptMax, remain);
    }
  }
  return { words, jobs, slotsMax, keptMax };
}
