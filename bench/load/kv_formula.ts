/**
 * What a KV pool should hold on average under a load, from what its requests were answered alone: bytes of pages times the
 * time in each stage, summed over the requests and divided by the run's time.
 */
import type { Answer, StageTime } from "./meter.ts";

export interface KvLayout {
  /** Of a token in all layers together. */
  readonly tokenBytes: number;
  readonly pageSlots: number;
  /** Everything a request may come to hold is reserved when it begins and given back when it ends. */
  readonly contiguous: boolean;
}

export interface KvRequest {
  readonly answer: Answer;
  readonly maxTokens: number;
}

/** Bytes × milliseconds. */
export interface HeldByteMs {
  /** Of raw prompts in prefill and compress, and the copies that are being written. */
  readonly prompts: number;
  /** Of caches that decode adds to. */
  readonly decoding: number;
}

export const KV_FORMULA =
  "mean bytes = Σ over requests [P(prompt) × (prefill working + compress waiting and working) + P(kept) × compress working + " +
  "mean of P(kept + i) for i = 1 … n − 1 × decode waiting and working] / time, where P(s) = ⌈s / page slots⌉ pages in every " +
  "layer, kept = prompt without compression and the mean of the layers where they differ, nothing packed, n tokens generated; contiguous: [P(prompt) + P(kept + max_tokens − 1)] × the " +
  "time from prefill to the end, without compression P(prompt + max_tokens − 1)";

const NEVER: StageTime = { waitMs: 0, runMs: 0 };

export function heldByteMs(
  { answer, maxTokens }: KvRequest,
  { tokenBytes, pageSlots, contiguous }: KvLayout,
): HeldByteMs {
  const bytesOf = (slots: number) => Math.ceil(slots / pageSlots) * pageSlots * tokenBytes;
  const stage = (name: string) => answer.stages?.[name] ?? NEVER;
  const { promptTokens: prompt, completionTokens: generated, kv } = answer;
  const kept = kv?.keptTokens ?? prompt;
  const compress = stage("compress"), decode = stage("decode");
  const rawMs = stage("prefill").runMs + compress.waitMs + compress.runMs;
  const decodeMs = decode.waitMs + decode.runMs;
  if (contiguous) {
    const bytes = kept < prompt
      ? bytesOf(prompt) + bytesOf(kept + maxTokens - 1)
      : bytesOf(prompt + maxTokens - 1);
    return { prompts: bytes * rawMs, decoding: bytes * decodeMs };
  }
  let grown = 0;
  for (let i = 1; i < generated; i++) grown += bytesOf(kept + i);
  return {
    prompts: bytesOf(prompt) * rawMs + bytesOf(kept) * compress.runMs,
    decoding: generated < 2 ? 0 : grown / (generated - 1) * decodeMs,
  };
}

/** Prompt slots that a decoding sequence stores, a mean over the sequences that decode at one time. */
export function decodingPromptSlots(requests: readonly KvRequest[]): number {
  let slotMs = 0, allMs = 0;
  for (const { answer: { promptTokens, kv, stages } } of requests) {
    const { waitMs, runMs } = stages?.decode ?? NEVER;
    slotMs += (kv?.keptTokens ?? promptTokens) * (waitMs + runMs);
    allMs += waitMs + runMs;
  }
  return slotMs / allMs;
}
