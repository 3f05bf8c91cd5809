/** What a forward step keeps of its prompts for their compression: records by kind, written layer by layer. */
import { assert } from "../../core/assert.ts";
import type { HeadShape, KeepOperands, Step } from "../../ops/backend.ts";
import { KEEP_WORDS, KeepWord, type KvKeeps } from "../../ops/kv.ts";
import type { ForwardSequence, SequenceKeep } from "../engine.ts";
import { type Need, needBytes } from "./need.ts";

/** Records of one kind. */
export interface StepKeeps {
  readonly kind: Need["kind"];
  readonly keeps: KvKeeps;
}

/** Packs what the step's sequences want kept; the map has them in the same order. */
export function packKeeps(
  step: Step,
  sequences: readonly ForwardSequence[],
  shape: HeadShape,
  pageBytes: number,
): StepKeeps[] {
  const kinds = new Map<Need["kind"], { sequence: number; keep: SequenceKeep }[]>();
  for (const [sequence, { keep, slotBase }] of sequences.entries()) {
    if (!keep) continue;
    const needed = needBytes(keep.need, shape, slotBase.length, keep.promptTokens);
    assert(keep.pages.length * pageBytes >= needed, "the pages hold what is kept");
    const list = kinds.get(keep.need.kind);
    if (list === undefined) kinds.set(keep.need.kind, [{ sequence, keep }]);
    else list.push({ sequence, keep });
  }
  return [...kinds].map(([kind, list]) => {
    const tableWords = list.reduce((sum, { keep }) => sum + keep.pages.length, 0);
    const words = new Uint32Array(KEEP_WORDS * list.length + tableWords);
    let at = KEEP_WORDS * list.length;
    for (const [index, { sequence, keep }] of list.entries()) {
      const record = words.subarray(KEEP_WORDS * index, KEEP_WORDS * (index + 1));
      record[KeepWord.sequence] = sequence;
      record[KeepWord.table] = at;
      record[KeepWord.promptTokens] = keep.promptTokens;
      record[KeepWord.setting] = settingOf(keep);
      words.set(keep.pages, at);
      at += keep.pages.length;
    }
    return { kind, keeps: { indices: step.indices(words), count: list.length } };
  });
}

function settingOf({ need, promptTokens }: SequenceKeep): number {
  switch (need.kind) {
    case "queries":
      return Math.min(need.window, promptTokens);
    case "moments":
      return need.sinks;
    case "columns":
      return 0;
  }
}

type Layer = Omit<KeepOperands, "keeps">;

/** Records what is kept of a layer's queries before they are rotated. */
export function keepUnrotated(step: Step, kept: readonly StepKeeps[], layer: Layer): void {
  for (const { kind, keeps } of kept) if (kind === "moments") step.keepMoments({ ...layer, keeps });
}

/** Records what is kept of a layer once its queries are rotated and its keys stored. */
export function keepRotated(step: Step, kept: readonly StepKeeps[], layer: Layer, scale: number): void {
  for (const { kind, keeps } of kept) {
    if (kind === "queries") step.keepQueries({ ...layer, keeps });
    if (kind === "columns") step.keepColumns({ ...layer, keeps, scale });
  }
}
