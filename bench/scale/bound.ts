/**
 * The requests a second that a policy could answer at most on a device that never waits: each stage in the largest batches
 * that the policy makes, one stage after the other.
 */
import type { Policy } from "../../scheduler/policy.ts";
import type { StepCosts } from "./costs.ts";

export interface Load {
  readonly imageTokens: number;
  readonly promptTokens: number;
  /** Slots that compression leaves of the prompt. */
  readonly keptTokens: number;
  /** Completions are as long as anything between these, as often. */
  readonly completionTokens: { readonly least: number; readonly most: number };
}

export interface Seats {
  readonly sequences: number;
  readonly stepTokens: number;
  readonly poolTokens: number;
}

/** Device milliseconds of one request by stage. */
export interface Bound {
  readonly encodeMs: number;
  readonly prefillMs: number;
  readonly compressMs: number;
  readonly decodeMs: number;
  /** Steps of decode that it takes part in, those after its own end included. */
  readonly decodeSteps: number;
  readonly decodeBatch: number;
  readonly perSecond: number;
}

interface Batches {
  readonly encode: number;
  readonly prefill: number;
  readonly compress: number;
  readonly decode: number;
}

/** Members of the largest batch of each stage. */
function batchesOf(policy: Policy, load: Load, { sequences, stepTokens, poolTokens }: Seats): Batches {
  const stored = load.keptTokens + load.completionTokens.most / 2;
  const decode = Math.max(1, Math.min(sequences, Math.floor(poolTokens / stored)));
  const prefill = Math.max(1, Math.floor(stepTokens / load.promptTokens));
  switch (policy.kind) {
    case "dynamic":
      return { encode: prefill, prefill, compress: decode, decode };
    case "fcfs":
      return { encode: 1, prefill: 1, compress: 1, decode };
    case "static":
      return {
        ...{ encode: policy.prefill, prefill: policy.prefill, compress: policy.compress },
        decode: Math.min(decode, policy.decode),
      };
  }
}

export function boundOf(policy: Policy, costs: StepCosts, load: Load, seats: Seats): Bound {
  const { imageTokens, promptTokens, keptTokens, completionTokens: { least, most } } = load;
  const batches = batchesOf(policy, load, seats);
  const mean = (least + most) / 2;
  // A static batch goes on until the longest of its members has ended.
  const longest = least + (most - least) * batches.decode / (batches.decode + 1);
  const decodeSteps = policy.kind === "static" ? longest : mean;
  const each = (batch: number, step: (members: number) => number) => step(batch) / batch;
  const members = <T>(count: number, member: T) => Array.from({ length: count }, () => member);
  const encodeMs = each(
    batches.encode,
    (count) => costs.encode(members(count, { embeddingRows: imageTokens })),
  );
  const prompt = { tokens: new Uint32Array(promptTokens), slotBase: Uint32Array.of(0) };
  const prefillMs = each(batches.prefill, (count) => costs.forward(members(count, prompt)));
  const cache = { slots: Uint32Array.of(promptTokens), kept: Uint32Array.of(keptTokens) };
  const compressMs = each(batches.compress, (count) => costs.compress(members(count, cache)));
  const token = { tokens: new Uint32Array(1), slotBase: Uint32Array.of(keptTokens + mean / 2) };
  const decodeMs = decodeSteps * each(batches.decode, (count) => costs.forward(members(count, token)));
  const perSecond = 1000 / (encodeMs + prefillMs + compressMs + decodeMs);
  return { encodeMs, prefillMs, compressMs, decodeMs, decodeSteps, decodeBatch: batches.decode, perSecond };
}
