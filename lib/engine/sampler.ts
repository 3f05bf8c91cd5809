/** Sampling parameters to device words and device words to sampled tokens. */
import { SAMPLE_NOT_FINITE, SAMPLE_WORDS, SampleWord } from "../ops/backend.ts";
import type { ForwardSequence, SampledToken } from "./engine.ts";

/** [rows, SAMPLE_WORDS] for the sequences that sample. */
export function packSampling(sequences: readonly ForwardSequence[]): Uint32Array {
  const words = new Uint32Array(sequences.length * SAMPLE_WORDS);
  const floats = new Float32Array(words.buffer);
  for (const [row, sequence] of sequences.entries()) {
    const sampling = sequence.sampling!;
    const at = row * SAMPLE_WORDS;
    floats[at + SampleWord.temperature] = sampling.temperature;
    floats[at + SampleWord.topP] = sampling.topP;
    floats[at + SampleWord.minP] = sampling.minP;
    words[at + SampleWord.topK] = sampling.topK;
    words[at + SampleWord.seedLow] = sampling.seed[0];
    words[at + SampleWord.seedHigh] = sampling.seed[1];
    words[at + SampleWord.counter] = sequence.sampled;
    words[at + SampleWord.logprobCount] = sampling.logprobs ?? 0;
  }
  return words;
}

/** Log-probability columns that a batch needs: 2 + 2 · most alternatives, or 0 when nobody asks. */
export function logprobColumns(sequences: readonly ForwardSequence[]): number {
  const asked = sequences.filter((sequence) => sequence.sampling!.logprobs !== null);
  return asked.length === 0 ? 0 : 2 + 2 * Math.max(...asked.map((sequence) => sequence.sampling!.logprobs!));
}

/** Results of the sampled rows, in their order. */
export function unpackSampled(
  sequences: readonly ForwardSequence[],
  tokens: Uint32Array,
  logprobs: Float32Array | null,
): (SampledToken | "not_finite")[] {
  const columns = logprobs === null ? 0 : logprobs.length / sequences.length;
  return sequences.map((sequence, row) => {
    const id = tokens[row];
    if (id === SAMPLE_NOT_FINITE) return "not_finite";
    if (logprobs === null || sequence.sampling!.logprobs === null) return { id, logprob: null, top: [] };
    const record = logprobs.subarray(row * columns, (row + 1) * columns);
    const top = Array.from(
      { length: record[1] },
      (_, i) => ({ id: record[2 + 2 * i], logprob: record[3 + 2 * i] }),
    );
    return { id, logprob: record[0], top };
  });
}
