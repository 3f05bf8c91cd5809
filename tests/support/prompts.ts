/** Compression jobs whose prompts were prefilled in one step, with what that kept. */
import type { HeadShape, Step } from "../../lib/ops/backend.ts";
import type { KvDtype, KvJobs, KvPages } from "../../lib/ops/kv.ts";
import { Draw } from "./cases.ts";
import { type KeepSpec, kvKeeps, prefilled } from "./keeps.ts";
import { type BatchSequence, type JobSpec, kvJobs, kvShape } from "./kv.ts";
import type { Scope } from "./scope.ts";
import type { Numbers } from "./compare.ts";

/** Stored slots of the jobs: one page or several, whole or not. */
export const LENGTHS = [5, 16, 37, 70] as const;

/** Words that a layer keeps of a prompt of so many tokens. */
export type KeepWords = (promptTokens: number) => number;

export interface PromptJobs {
  readonly pages: KvPages;
  readonly jobs: readonly JobSpec[];
  /** Prefills all prompts, each a job, in one step; keeps by `record`; returns the jobs packed. */
  prefill(
    step: Step,
    setting: (promptTokens: number) => number,
    record: (operands: {
      qkv: ReturnType<typeof prefilled>["qkv"];
      map: ReturnType<typeof prefilled>["map"];
      keeps: ReturnType<typeof kvKeeps>;
      shape: HeadShape;
      pages: KvPages;
      layer: number;
    }) => void,
  ): KvJobs;
}

/** Jobs of LENGTHS that keep `keptOf(slots)` slots, with scattered pages. */
export function promptJobs(
  scope: Scope,
  dtype: KvDtype,
  shape: HeadShape,
  keepWords: KeepWords,
  keptOf: (slots: number) => number = () => 1,
): PromptJobs {
  const draw = new Draw(shape.headDim);
  const pageSlots = dtype === "f16" ? 16 : 8, described = kvShape(dtype, shape, 1, pageSlots);
  const pageWords = described.pageBytes / 4;
  const counts = LENGTHS.map((slots) => ({
    source: Math.ceil(slots / pageSlots),
    target: Math.ceil(keptOf(slots) / pageSlots),
    keep: Math.ceil(keepWords(slots) / pageWords),
  }));
  const total = counts.reduce((sum, { source, target, keep }) => sum + source + target + keep, 0);
  const free = draw.shuffled(total), pages = scope.pages(kvShape(dtype, shape, total, pageSlots));
  const jobs: JobSpec[] = LENGTHS.map((slots, i) => ({
    slots,
    kept: keptOf(slots),
    source: free.splice(0, counts[i].source),
    target: free.splice(0, counts[i].target),
    keep: free.splice(0, counts[i].keep),
  }));
  return {
    pages,
    jobs,
    prefill(step, setting, record) {
      const sequences: BatchSequence[] = jobs.map(({ slots, source }) => ({
        tokens: slots,
        slotBase: [0],
        tables: [source],
      }));
      const specs: KeepSpec[] = jobs.map(({ slots, keep }, sequence) => ({
        sequence,
        table: keep!,
        promptTokens: slots,
        setting: setting(slots),
      }));
      const { qkv, map } = prefilled(step, draw, pages, shape, sequences, 0);
      record({ qkv, map, keeps: kvKeeps(step, specs), shape, pages, layer: 0 });
      return kvJobs(step, jobs);
    },
  };
}

/** Rows of scores without what lies past a job's slots, which is undefined. */
export function storedScores(scores: Numbers, jobs: readonly JobSpec[], kvHeads: number): Numbers[] {
  const width = Math.max(...jobs.map(({ slots }) => slots));
  return jobs.flatMap(({ slots }, j) =>
    Array.from({ length: kvHeads }, (_, h) => {
      const at = (j * kvHeads + h) * width;
      return scores.subarray(at, at + slots);
    })
  );
}
