/** sample: one token per row of logits, as the contract says. Threads take whole rows. */
import { SAMPLE_NOT_FINITE, SAMPLE_WORDS, SampleWord } from "../ops/backend.ts";
import type { Machine } from "./machine.ts";

export const SampleOperand = {
  logits: 0,
  rows: 1,
  vocab: 2,
  params: 3,
  tokens: 4,
  logprobs: 5,
  columns: 6,
} as const;

interface Params {
  readonly temperature: number;
  readonly topP: number;
  readonly minP: number;
  readonly topK: number;
  readonly seed: readonly [number, number];
  readonly counter: number;
  readonly logprobs: number;
}

export function runSample(machine: Machine, w: Uint32Array): void {
  const { f32, u32 } = machine;
  const vocab = w[SampleOperand.vocab], columns = w[SampleOperand.columns];
  const [first, last] = machine.share(w[SampleOperand.rows]);
  for (let row = first; row < last; row++) {
    const begin = (w[SampleOperand.logits] >>> 2) + row * vocab;
    const logits = f32.subarray(begin, begin + vocab);
    const params = readParams(machine, (w[SampleOperand.params] >>> 2) + row * SAMPLE_WORDS);
    const best = largest(logits);
    const token = best === SAMPLE_NOT_FINITE || params.temperature === 0
      ? best
      : draw(logits, logits[best], params);
    u32[(w[SampleOperand.tokens] >>> 2) + row] = token;
    if (columns > 0 && token !== SAMPLE_NOT_FINITE) {
      const at = (w[SampleOperand.logprobs] >>> 2) + row * columns;
      writeLogprobs(logits, logits[best], token, params.logprobs, f32.subarray(at, at + columns));
    }
  }
}

function readParams(machine: Machine, at: number): Params {
  const { f32, u32 } = machine;
  return {
    temperature: f32[at + SampleWord.temperature],
    topP: f32[at + SampleWord.topP],
    minP: f32[at + SampleWord.minP],
    topK: u32[at + SampleWord.topK],
    seed: [u32[at + SampleWord.seedLow], u32[at + SampleWord.seedHigh]],
    counter: u32[at + SampleWord.counter],
    logprobs: u32[at + SampleWord.logprobCount],
  };
}

/** The lowest id of the largest logit; SAMPLE_NOT_FINITE when a logit is NaN or the largest is infinite. */
function largest(logits: Float32Array): number {
  let best = 0;
  for (let id = 0; id < logits.length; id++) {
    if (Number.isNaN(logits[id])) return SAMPLE_NOT_FINITE;
    if (logits[id] > logits[best]) best = id;
  }
  return Number.isFinite(logits[best]) ? best : SAMPLE_NOT_FINITE;
}

/** Gumbel-max over what the filters leave: argmax of logit / temperature − ln(−ln u), ties to the lower id. */
function draw(logits: Float32Array, max: number, params: Params): number {
  const threshold = filterThreshold(logits, max, params);
  let best = 0, bestValue = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] < threshold) continue;
    const u = uniform(params.seed, params.counter, id);
    const value = (logits[id] - max) / params.temperature - Math.log(-Math.log(u));
    if (value > bestValue) {
      bestValue = value;
      best = id;
    }
  }
  return best;
}

/** The smallest logit that top-k, then top-p of the rest, then min-p keep. Ties at a threshold are all kept. */
function filterThreshold(logits: Float32Array, max: number, params: Params): number {
  const { temperature, topK, topP, minP } = params;
  const weight = (logit: number) => Math.exp((logit - max) / temperature);
  const floor = minP > 0 ? max + temperature * Math.log(minP) : -Infinity;
  if (topK === 0 && topP >= 1) return floor;
  const sorted = logits.slice().sort().reverse();
  const kth = topK > 0 && topK < sorted.length ? sorted[topK - 1] : -Infinity;
  if (topP >= 1) return Math.max(kth, floor);
  let end = sorted.length;
  if (kth > -Infinity) {
    end = topK;
    while (end < sorted.length && sorted[end] === kth) end++;
  }
  let total = 0;
  for (let i = 0; i < end; i++) total += weight(sorted[i]);
  let mass = 0, last = 0;
  while (last < end) {
    mass += weight(sorted[last]);
    if (mass >= topP * total) break;
    last++;
  }
  return Math.max(sorted[Math.min(last, end - 1)], floor);
}

/** Log-softmax of the unmodified logits: the chosen token's, then the best `count`, descending, ties to the lower id. */
function writeLogprobs(
  logits: Float32Array,
  max: number,
  token: number,
  count: number,
  out: Float32Array,
): void {
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - max);
  const log = max + Math.log(total);
  const entries = Math.min(count, (out.length - 2) / 2, logits.length);
  out[0] = logits[token] - log;
  out[1] = entries;
  let previous = -1;
  for (let entry = 0; entry < entries; entry++) {
    let best = -1;
    for (let id = 0; id < logits.length; id++) {
      const after = previous < 0 || logits[id] < logits[previous] ||
        (logits[id] === logits[previous] && id > previous);
      if (after && (best < 0 || logits[id] > logits[best])) best = id;
    }
    out[2 + 2 * entry] = best;
    out[3 + 2 * entry] = logits[best] - log;
    previous = best;
  }
}

/**
 * A number in (0, 1) from the counter generator that shaders/sample.wgsl.ts documents: the same for any batch, thread
 * and backend.
 */
function uniform(seed: readonly [number, number], counter: number, token: number): number {
  let x = hash(seed[0]);
  for (const word of [seed[1], counter, token]) x = hash(x ^ word);
  return ((x >>> 9) + 0.5) / 2 ** 23;
}

/** PCG output hash (Jarzynski and Olano 2020). */
function hash(value: number): number {
  const state = (Math.imul(value, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}
