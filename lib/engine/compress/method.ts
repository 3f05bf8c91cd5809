/** What a compression method is: plain facts that admission plans with, and the operations that do it. */
import type { HeadShape, Step } from "../../ops/backend.ts";
import type { KvBits, KvJobs, KvPages } from "../../ops/kv.ts";
import { raiseProtected } from "./protect.ts";
import type { Tensor } from "../../ops/tensor.ts";
import type { Rotary } from "../rotary.ts";
import type { Need } from "./need.ts";
import type { LearnedNetworks } from "./networks.ts";

export const METHOD_NAMES = [
  "none",
  "streaming",
  "random",
  "mean-pool",
  "knorm",
  "keydiff",
  "lagkv",
  "snapkv",
  "tova",
  "pyramidkv",
  "expected-attention",
  "h2o",
  "chunkkv",
  "look-m",
  "learned",
] as const;
export type MethodName = typeof METHOD_NAMES[number];

/** A method's own settings, by the names that requests use; what was trained also has numbers by layer, which none names. */
export type Settings = Readonly<Record<string, number | boolean | readonly number[]>>;

/** How much remains: the fraction of the prompt's slots that is removed, or the slots that stay in each layer. */
export type Size = { readonly ratio: number } | { readonly budget: number };

/** What a request asks for, checked; plain data. */
export interface Compression {
  readonly method: MethodName;
  readonly size: Size;
  readonly settings: Settings;
  /** Kept keys move to positions 0 … n − 1, and the sequence goes on there. */
  readonly rerotate: boolean;
  /** What is kept is stored as codes of few bits. */
  readonly quantise: Quantisation | null;
}

export interface Quantisation {
  readonly bits: KvBits;
  /** Whether the last slots, fewer than a group, stay as they are or are rounded like the others. */
  readonly tail: "float" | "group";
}

/** Slots of a prompt that stand for one picture. */
export interface ImageSpan {
  readonly first: number;
  readonly count: number;
}

/** Neighbouring slots. */
export type SlotSpan = ImageSpan;

/** A stored prompt as methods see it. */
export interface PromptShape {
  /** Slots stored, per layer. */
  readonly slots: Uint32Array;
  /** Ascending, apart from each other. */
  readonly images: readonly ImageSpan[];
  /** Slots that stay in every layer and head, whatever the method; ascending, apart from each other. */
  readonly protect?: readonly SlotSpan[];
}

/** Bounds of a whole or a real number, or a choice of yes and no; and what holds where a request says nothing. */
export type Setting =
  | { readonly kind: "whole"; readonly least: number; readonly most: number; readonly usual: number }
  /** A whole odd number. */
  | { readonly kind: "odd"; readonly least: number; readonly most: number; readonly usual: number }
  | { readonly kind: "real"; readonly least: number; readonly most: number; readonly usual: number }
  | { readonly kind: "choice"; readonly usual: boolean };

export const whole = (usual: number, least: number, most: number): Setting => ({
  kind: "whole",
  least,
  most,
  usual,
});

/** One prompt of a batch. */
export interface BatchPrompt extends PromptShape {
  readonly size: Size;
  /** Slots that remain, per layer. */
  readonly kept: Uint32Array;
  /** 64-bit seed of the request as two words. */
  readonly seed: readonly [number, number];
}

/** Prompts of equal method and settings while their step is recorded; layers of one prompt are adjacent jobs. */
export interface Batch {
  readonly step: Step;
  readonly pages: KvPages;
  readonly shape: HeadShape;
  /** Of query-key products. */
  readonly scale: number;
  readonly jobs: KvJobs;
  readonly prompts: readonly BatchPrompt[];
  readonly rotary: Rotary;
  /** Of the learned method, one for each factor it was trained for. */
  readonly networks: readonly LearnedNetworks[];
  /** Writes the slots of `kept` [jobs · kvHeads, keptMax] into the target pages, rerotated if asked; releases it. */
  gather(kept: Tensor): void;
  /** Sees what was chosen before it is used; may choose otherwise (tests). */
  chosen(kept: Tensor): Tensor;
  /** Gives back what `chosen` returned. */
  dropChosen(kept: Tensor): void;
}

export interface Method {
  /** Settings by name. */
  readonly settings: Readonly<Record<string, Setting>>;
  /** Whether kept keys may move to positions 0 … n − 1: slots are copied as they are, as many in every layer. */
  readonly rerotates: boolean;
  /** Whether what it keeps is the same whatever is asked next: right for prompts that further turns go on from. */
  readonly queryAgnostic: boolean;
  /** Whether it chooses slots one by one, so that some can be kept out of its choice. */
  readonly protects: boolean;
  /** What prefill must keep for it; null for nothing. */
  need(settings: Settings): Need | null;
  /** Slots that remain, per layer: at least one, at most those stored. */
  kept(prompt: PromptShape, size: Size, settings: Settings): Uint32Array;
  /** The size that is meant, where only some can be, or why it does not fit. */
  sizeOf(size: Size): Size | string;
  /** Batches are of prompts of equal variant, beside equal settings. */
  variant(prompt: BatchPrompt, settings: Settings): number;
  record(batch: Batch, settings: Settings): void;
}

/** A method as its file states it: `S` are its settings. */
interface Statement<S> {
  readonly settings: { readonly [K in keyof S]: Setting };
  readonly rerotates?: boolean;
  readonly queryAgnostic?: boolean;
  readonly protects?: boolean;
  need?(settings: S): Need;
  kept?(prompt: PromptShape, size: Size, settings: S): Uint32Array;
  sizeOf?(size: Size): Size | string;
  variant?(prompt: BatchPrompt, settings: S): number;
  record(batch: Batch, settings: S): void;
}

/** Most methods keep the same number of slots in all layers, gather them, and look at what the prompt ends with. */
export function defineMethod<S>(statement: Statement<S>): Method {
  const { settings, need, kept, sizeOf, variant, record } = statement;
  // Settings were parsed by these very bounds, so they are an S.
  const own = (values: Settings) => values as unknown as S;
  return {
    settings: settings as Readonly<Record<string, Setting>>,
    rerotates: statement.rerotates ?? true,
    queryAgnostic: statement.queryAgnostic ?? false,
    protects: statement.protects ?? true,
    need: (values) => need?.(own(values)) ?? null,
    kept: (prompt, size, values) =>
      kept?.(prompt, size, own(values)) ?? prompt.slots.map((slots) => keptBySize(slots, size)),
    sizeOf: (size) => sizeOf?.(size) ?? size,
    variant: (prompt, values) => variant?.(prompt, own(values)) ?? 0,
    record: (batch, values) => record(batch, own(values)),
  };
}

/** Of `slots`, by kvpress' rule int(slots · (1 − ratio)); at least one, so that attention has something to read. */
export function keptBySize(slots: number, size: Size): number {
  const kept = "budget" in size ? size.budget : Math.trunc(slots * (1 - size.ratio));
  return Math.min(slots, Math.max(1, kept));
}

/** Chooses, per KV head, the slots with the largest scores and gathers them; the scores are released. */
export function gatherTop(batch: Batch, scores: Tensor): void {
  batch.gather(topSlots(batch, scores));
}

/** The slots with the largest scores, protected ones first [jobs · kvHeads, keptMax]; the scores are released. */
export function topSlots(batch: Batch, scores: Tensor): Tensor {
  const { step, jobs, shape: { kvHeads } } = batch;
  raiseProtected(batch, scores);
  const kept = step.tensor(jobs.jobs * kvHeads, jobs.keptMax, "u32");
  step.kvTop({ jobs, kvHeads, scores, kept });
  step.release(scores);
  return kept;
}

/** A tensor for scores of a batch. */
export function scoresOf({ step, jobs, shape }: Batch): Tensor {
  return step.tensor(jobs.jobs * shape.kvHeads, jobs.slotsMax);
}
