import { assert } from "../../lib/core/assert.ts";
import { SAMPLE_NOT_FINITE, SAMPLE_WORDS, SampleWord } from "../../lib/ops/backend.ts";
import { uniform } from "./counter_random.ts";
import { logSumExp, softmax } from "./softmax.ts";
import { expectShape, floats, type Operands, words } from "./tensor.ts";

/** The parameters of one row, unpacked. */
export interface SampleParams {
  readonly temperature: number;
  readonly topP: number;
  readonly minP: number;
  readonly topK: number;
  readonly seedLow: number;
  readonly seedHigh: number;
  readonly counter: number;
  readonly logprobCount: number;
}

/** One token per row: see the contract. */
export function sample(o: Operands<"sample">): void {
  const { rows, cols: vocab } = o.logits;
  const params = o.params.values, tokens = words(o.tokens), logits = floats(o.logits);
  assert(params.length === rows * SAMPLE_WORDS, "every row has its parameters");
  expectShape(o.tokens, rows, 1);
  for (let s = 0; s < rows; s++) {
    const row = logits.subarray(s * vocab, (s + 1) * vocab);
    const wanted = unpack(params.subarray(s * SAMPLE_WORDS, (s + 1) * SAMPLE_WORDS));
    tokens[s] = chooseToken(row, wanted);
    if (o.logprobs !== null && tokens[s] !== SAMPLE_NOT_FINITE) {
      assert(
        o.logprobs.rows === rows && o.logprobs.cols % 2 === 0,
        "a row holds two numbers and whole pairs",
      );
      const cols = o.logprobs.cols;
      const count = Math.min(wanted.logprobCount, (cols - 2) / 2);
      floats(o.logprobs).set(logprobRecord(row, tokens[s], count), s * cols);
    }
  }
}

function unpack(row: Uint32Array): SampleParams {
  const bits = row.slice();
  const asFloats = new Float32Array(bits.buffer);
  return {
    temperature: asFloats[SampleWord.temperature],
    topP: asFloats[SampleWord.topP],
    minP: asFloats[SampleWord.minP],
    topK: bits[SampleWord.topK],
    seedLow: bits[SampleWord.seedLow],
    seedHigh: bits[SampleWord.seedHigh],
    counter: bits[SampleWord.counter],
    logprobCount: bits[SampleWord.logprobCount],
  };
}

/** The token of one row, or SAMPLE_NOT_FINITE when a logit is NaN or the largest is infinite. */
export function chooseToken(logits: Float64Array, params: SampleParams): number {
  const order = descending(logits);
  if (logits.some(Number.isNaN) || !Number.isFinite(logits[order[0]])) return SAMPLE_NOT_FINITE;
  return params.temperature === 0 ? order[0] : descending(perturbed(logits, params))[0];
}

/** logit / temperature + Gumbel noise for every token that may be sampled, −Infinity for the others. */
export function perturbed(logits: Float64Array, params: SampleParams): Float64Array {
  const values = new Float64Array(logits.length).fill(-Infinity);
  for (const id of survivors(logits, params)) {
    const u = uniform(params.seedLow, params.seedHigh, params.counter, id);
    values[id] = logits[id] / params.temperature - Math.log(-Math.log(u));
  }
  return values;
}

/** Token ids that may be sampled, ascending: temperature, then top-k, top-p and min-p, each on what the one before left. */
export function survivors(logits: Float64Array, params: SampleParams): number[] {
  const scaled = logits.map((logit) => logit / params.temperature);
  let ids = descending(scaled);
  if (params.topK > 0 && params.topK < ids.length) ids = atLeast(ids, scaled, scaled[ids[params.topK - 1]]);
  if (params.topP < 1) {
    const probabilities = softmax(Float64Array.from(ids, (id) => scaled[id]));
    let mass = 0, last = 0;
    while ((mass += probabilities[last]) < params.topP && last < ids.length - 1) last++;
    ids = atLeast(ids, scaled, scaled[ids[last]]);
  }
  if (params.minP > 0) ids = atLeast(ids, scaled, scaled[ids[0]] + Math.log(params.minP));
  return ids.sort((a, b) => a - b);
}

/** Ids by falling logit, ties to the lower id (the sort is stable). NaN goes anywhere. */
function descending(logits: Float64Array): number[] {
  return Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
}

function atLeast(ids: number[], values: Float64Array, threshold: number): number[] {
  return ids.filter((id) => values[id] >= threshold);
}

/** [log-probability of the token, count, then count pairs (id, log-probability) descending], of the unmodified logits. */
function logprobRecord(logits: Float64Array, token: number, count: number): number[] {
  const normaliser = logSumExp(logits);
  const top = descending(logits).slice(0, count);
  return [logits[token] - normaliser, top.length, ...top.flatMap((id) => [id, logits[id] - normaliser])];
}
