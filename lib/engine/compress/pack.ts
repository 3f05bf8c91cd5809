/** Packing of kept slots as codes of few bits, and the jobs that unpack them while a step is computed. */
import { assert } from "../../core/assert.ts";
import type { Step } from "../../ops/backend.ts";
import {
  JOB_WORDS,
  JobWord,
  type KvBits,
  type KvJobs,
  type KvPages,
  type KvShape,
  PACK_SLOTS,
  packedGroupWords,
} from "../../ops/kv.ts";
import type { CompressSequence, ForwardSequence, PackedSlots } from "../engine.ts";

type PackShape = Pick<KvShape, "kvHeads" | "headDim" | "dtype">;

/** Slots of each layer that are packed of those kept: whole groups. */
export function packedByLayer(kept: Uint32Array): Uint32Array {
  return kept.map((slots) => Math.floor(slots / PACK_SLOTS) * PACK_SLOTS);
}

function packedWords(shape: PackShape, bits: KvBits, slots: number): number {
  return slots / PACK_SLOTS * shape.kvHeads * packedGroupWords(shape, bits);
}

/** Bytes of all layers' packed slots. */
export function packedBytes(shape: PackShape, bits: KvBits, packed: Uint32Array): number {
  return 4 * packed.reduce((sum, slots) => sum + packedWords(shape, bits, slots), 0);
}

/** One layer of one sequence. */
interface PackJob {
  readonly slots: number;
  readonly target: Uint32Array;
  readonly packed: PackedSlots;
  readonly base: number;
}

function packJobs(step: Step, list: readonly PackJob[]): KvJobs {
  const tables = list.reduce((sum, { target, packed }) => sum + target.length + packed.pages.length, 0);
  const words = new Uint32Array(JOB_WORDS * list.length + tables);
  let at = JOB_WORDS * list.length, slotsMax = 0;
  const place = (table: Uint32Array) => {
    words.set(table, at);
    at += table.length;
    return at - table.length;
  };
  for (const [job, { slots, target, packed, base }] of list.entries()) {
    const record = words.subarray(JOB_WORDS * job, JOB_WORDS * (job + 1));
    record[JobWord.slots] = slots;
    record[JobWord.kept] = slots;
    record[JobWord.targetTable] = place(target);
    record[JobWord.keepTable] = place(packed.pages);
    record[JobWord.keepBase] = base;
    slotsMax = Math.max(slotsMax, slots);
  }
  return { indices: step.indices(words), jobs: list.length, slotsMax, keptMax: slotsMax };
}

/** Word where a layer's codes begin. */
function layerBase({ slots, bits }: PackedSlots, shape: PackShape, layer: number): number {
  return packedWords(shape, bits, slots.subarray(0, layer).reduce((sum, count) => sum + count, 0));
}

/** Records the packing of what a group of sequences, of equal quantisation, has kept in its target pages. */
export function recordPacking(step: Step, pages: KvPages, group: readonly CompressSequence[]): void {
  const { quantise } = group[0].compression;
  if (quantise === null) return;
  const jobs = group.flatMap(({ kept, targetTables, packed }) => {
    assert(packed !== null && packed.bits === quantise.bits, "what is quantised has pages for it");
    return Array.from(kept, (slots, layer) => (
      { slots, target: targetTables[layer], packed, base: layerBase(packed, pages.shape, layer) }
    ));
  });
  step.kvPack({ pages, jobs: packJobs(step, jobs), bits: quantise.bits, tail: quantise.tail === "group" });
}

/** What a step unpacks before it attends to one layer. */
export type LayerUnpacking = readonly { readonly bits: KvBits; readonly jobs: KvJobs }[];

/** Per layer, the jobs that unpack the step's sequences into their rooms. */
export function packUnpacking(
  step: Step,
  pages: KvPages,
  sequences: readonly ForwardSequence[],
  layers: number,
): LayerUnpacking[] {
  return Array.from({ length: layers }, (_, layer) =>
    ([8, 4] as const).flatMap((bits) => {
      const list = sequences.flatMap(({ packed }) => {
        if (packed?.bits !== bits || packed.slots[layer] === 0) return [];
        const base = layerBase(packed, pages.shape, layer);
        return [{ slots: packed.slots[layer], target: packed.room, packed, base }];
      });
      return list.length === 0 ? [] : [{ bits, jobs: packJobs(step, list) }];
    }));
}

/** A layer's whole page table: the room for its packed slots, then the pages of those behind them. */
export function wholeTable(
  { packed, pageTables }: ForwardSequence,
  layer: number,
  pageSlots: number,
): Uint32Array {
  if (!packed) return pageTables[layer];
  assert(PACK_SLOTS % pageSlots === 0, "packed slots fill whole pages");
  const room = packed.room.subarray(0, packed.slots[layer] / pageSlots);
  const table = new Uint32Array(room.length + pageTables[layer].length);
  table.set(room);
  table.set(pageTables[layer], room.length);
  return table;
}
