/** Rows of sampling parameters, and what one call of the operation returns. */
import assert from "node:assert/strict";
import { SAMPLE_WORDS, SampleWord } from "../../lib/ops/backend.ts";
import type { SampleParams } from "../reference/sample.ts";
import type { Scope } from "./scope.ts";

export const GREEDY: SampleParams = {
  temperature: 0,
  topP: 1,
  minP: 0,
  topK: 0,
  seedLow: 0,
  seedHigh: 0,
  counter: 0,
  logprobCount: 0,
};

export interface Sampled {
  readonly tokens: Uint32Array;
  /** [rows, 2 + 2 · alternatives]; empty without alternatives. */
  readonly logprobs: Float32Array;
}

/** Samples a token of every row of `logits` [params.length, vocab]. `alternatives` null asks for no logprobs. */
export async function sampleRows(
  scope: Scope,
  logits: Float32Array,
  params: readonly SampleParams[],
  alternatives: number | null = null,
): Promise<Sampled> {
  const rows = params.length, vocab = logits.length / rows;
  const results = await scope.step((step) => {
    const tokens = step.tensor(rows, 1, "u32");
    const logprobs = alternatives === null ? null : step.tensor(rows, 2 + 2 * alternatives);
    step.sample({
      logits: step.upload(rows, vocab, logits),
      params: step.indices(packParams(params)),
      tokens,
      logprobs,
    });
    return logprobs === null ? [tokens] : [tokens, logprobs];
  });
  const [tokens, logprobs = new Float32Array()] = results;
  assert.ok(tokens instanceof Uint32Array && logprobs instanceof Float32Array);
  return { tokens, logprobs };
}

function packParams(params: readonly SampleParams[]): Uint32Array {
  const words = new Uint32Array(params.length * SAMPLE_WORDS);
  const floats = new Float32Array(words.buffer);
  for (const [row, one] of params.entries()) {
    const at = row * SAMPLE_WORDS;
    floats[at + SampleWord.temperature] = one.temperature;
    floats[at + SampleWord.topP] = one.topP;
    floats[at + SampleWord.minP] = one.minP;
    words[at + SampleWord.topK] = one.topK;
    words[at + SampleWord.seedLow] = one.seedLow;
    words[at + SampleWord.seedHigh] = one.seedHigh;
    words[at + SampleWord.counter] = one.counter;
    words[at + SampleWord.logprobCount] = one.logprobCount;
  }
  return words;
}

/** The same row of logits `count` times. */
export function repeated(logits: Float32Array, count: number): Float32Array {
  return Float32Array.from({ length: count * logits.length }, (_, i) => logits[i % logits.length]);
}
