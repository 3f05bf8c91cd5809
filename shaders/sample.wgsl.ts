// sample: one token per row of logits [rows, vocab]; see the contract. params: SAMPLE_WORDS words a row.
// tokens [rows, 1] u32; a row with a NaN, or whose largest logit is infinite, gets SAMPLE_NOT_FINITE. logprobs
// [rows, 2 + 2·pairs] f32, or absent; a row that is not finite gets an empty record.
// One workgroup of 256 threads per row; threads stride over ids, sums are 256 chains and one fixed tree.
// Grid: rows, folded into y.
//
// Order: logits / temperature, top-k, top-p of what top-k left, min-p against the largest probability. Logits are
// compared as monotone u32 keys; a threshold is found two bits at a time from the top: the largest key such that the
// count (top-k) or the mass (top-p) of the keys at or above it is enough. So ties at a threshold are all kept.
//
// Random numbers, all u32 and wrapping: hash(v) is PCG's output permutation,
//   s = v · 747796405 + 2891336453;  w = ((s >> ((s >> 28) + 4)) ^ s) · 277803737;  hash = (w >> 22) ^ w
// x = hash(hash(hash(hash(seedLow) ^ seedHigh) ^ counter) ^ token id);  u = ((x >> 9) + 0.5) / 2²³, exact in f32 and
// never 0 or 1. The token is the argmax of logit / temperature − ln(−ln u), ties to the lower id.
// −ln u is summed as a series in v = 1 − u below 1/16: log() is only good to 2⁻²¹ absolutely near 1, and large
// values come from there. 1 − u is exact.
// Reference: tests/reference/sample.ts, counter_random.ts. Tolerance: ids "exact" but for near-ties; logprobs 1e-5.
import { SAMPLE_NOT_FINITE, SAMPLE_WORDS, SampleWord } from "../lib/ops/backend.ts";
import type { Kernel } from "./kernel.ts";

/** Params: rows, vocab, pairs that a log-probability record holds (0 without records). */
export function sampleKernel(logprobs: boolean): Kernel {
  return {
    key: `sample${logprobs ? " logprobs" : ""}`,
    bindings: ["read", "read", "read_write", ...(logprobs ? ["read_write" as const] : [])],
    paramWords: 3,
    get code() {
      return code(logprobs);
    },
  };
}

function code(logprobs: boolean): string {
  return `
@group(0) @binding(0) var<storage, read> logits: array<u32>; // bits, so that NaN is seen as stored
@group(0) @binding(1) var<storage, read> sampling: array<u32>;
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>;
${logprobs ? "@group(0) @binding(3) var<storage, read_write> records: array<f32>;" : ""}
struct Params {
  rows: u32,
  vocab: u32,
  pairs: u32,
}
@group(0) @binding(${logprobs ? 4 : 3}) var<uniform> params: Params;

const THREADS: u32 = 256u;
const NAN_KEY: u32 = 0xffffffffu; // above every number
const INFINITE_KEY: u32 = 0xff800000u; // of +inf
const MINUS_INFINITE_KEY: u32 = 0x007fffffu;
const NO_ID: u32 = 0xffffffffu;

var<workgroup> sums: array<vec3<f32>, THREADS>;
var<workgroup> bests: array<vec2<u32>, THREADS>;

// Keys ascend with the number; −0 and 0 are equal.
fn key_of_bits(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return NAN_KEY; }
  if ((bits & 0x80000000u) == 0u || bits == 0x80000000u) { return bits | 0x80000000u; }
  return ~bits;
}
fn value_of_key(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key ^ 0x80000000u, key >= 0x80000000u));
}

fn sum_over_row(lane: u32, value: vec3<f32>) -> vec3<f32> {
  sums[lane] = value;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  let sum = sums[0];
  workgroupBarrier();
  return sum;
}

fn better(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.x > b.x || (a.x == b.x && a.y < b.y);
}
// The (key, id) with the largest key, of those the lowest id.
fn best_of_row(lane: u32, own: vec2<u32>) -> vec2<u32> {
  bests[lane] = own;
  workgroupBarrier();
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    if (lane < half && better(bests[lane + half], bests[lane])) { bests[lane] = bests[lane + half]; }
    workgroupBarrier();
  }
  let best = bests[0];
  workgroupBarrier();
  return best;
}

// Probability relative to the largest one, in logarithm.
fn relative(key: u32, highest: f32, temperature: f32) -> f32 {
  return max((value_of_key(key) - highest) / temperature, -1e30);
}

// Of the keys at or above floor: the largest threshold that still leaves \`wanted\` keys (counting) or mass.
fn threshold(lane: u32, first: u32, floor: u32, counting: bool, wanted: f32, highest: f32, temperature: f32) -> u32 {
  var found = 0u;
  for (var step = 0u; step < 16u; step += 1u) {
    let shift = 30u - 2u * step;
    let one = found | (1u << shift);
    let two = found | (2u << shift);
    let three = found | (3u << shift);
    var own = vec3<f32>(0.0);
    for (var id = lane; id < params.vocab; id += THREADS) {
      let key = key_of_bits(logits[first + id]);
      if (key >= one && key >= floor) {
        var weight = 1.0;
        if (!counting) { weight = exp(relative(key, highest, temperature)); }
        own += vec3<f32>(weight, select(0.0, weight, key >= two), select(0.0, weight, key >= three));
      }
    }
    // Nothing at all is never enough, so that the largest key stays even for top-p 0.
    let sum = sum_over_row(lane, own);
    if (sum.z >= wanted && sum.z > 0.0) {
      found = three;
    } else if (sum.y >= wanted && sum.y > 0.0) {
      found = two;
    } else if (sum.x >= wanted && sum.x > 0.0) {
      found = one;
    }
  }
  return max(found, floor);
}

fn hash(value: u32) -> u32 {
  let state = value * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

// −ln(−ln u), the Gumbel noise of one id.
fn gumbel(stream: u32, id: u32) -> f32 {
  let u = (f32(hash(stream ^ id) >> 9u) + 0.5) / 8388608.0;
  let v = 1.0 - u;
  let series = v * fma(v, fma(v, fma(v, fma(v, 0.2, 0.25), 1.0 / 3.0), 0.5), 1.0);
  return -log(select(-log(u), series, v < 0.0625));
}

// The sampled id of a row whose largest logit is highest, filtered as the header says.
fn draw(lane: u32, row: u32, first: u32, highest: f32) -> u32 {
  let base = row * ${SAMPLE_WORDS}u;
  let temperature = bitcast<f32>(sampling[base + ${SampleWord.temperature}u]);
  let top_p = bitcast<f32>(sampling[base + ${SampleWord.topP}u]);
  let min_p = bitcast<f32>(sampling[base + ${SampleWord.minP}u]);
  let top_k = sampling[base + ${SampleWord.topK}u];

  var lowest = 0u;
  if (top_k > 0u && top_k < params.vocab) {
    lowest = threshold(lane, first, 0u, true, f32(top_k), highest, temperature);
  }
  if (top_p < 1.0) {
    var own = 0.0;
    for (var id = lane; id < params.vocab; id += THREADS) {
      let key = key_of_bits(logits[first + id]);
      if (key >= lowest) { own += exp(relative(key, highest, temperature)); }
    }
    let mass = sum_over_row(lane, vec3<f32>(own, 0.0, 0.0)).x;
    lowest = threshold(lane, first, lowest, false, top_p * mass, highest, temperature);
  }
  var least = -3.4e38;
  // log(1) may come out above 0, and nothing is above the largest.
  if (min_p > 0.0) { least = min(log(min_p), 0.0); }

  let seeded = hash(hash(sampling[base + ${SampleWord.seedLow}u]) ^ sampling[base + ${SampleWord.seedHigh}u]);
  let stream = hash(seeded ^ sampling[base + ${SampleWord.counter}u]);
  var best = vec2<u32>(0u, NO_ID);
  for (var id = lane; id < params.vocab; id += THREADS) {
    let key = key_of_bits(logits[first + id]);
    let log_probability = relative(key, highest, temperature);
    if (key >= lowest && log_probability >= least) {
      let candidate = vec2<u32>(key_of_bits(bitcast<u32>(log_probability + gumbel(stream, id))), id);
      if (better(candidate, best)) { best = candidate; }
    }
  }
  return best_of_row(lane, best).y;
}
${logprobs ? record : ""}
@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) { return; }
  let first = row * params.vocab;

  var own = vec2<u32>(0u, NO_ID);
  for (var id = lane; id < params.vocab; id += THREADS) {
    let candidate = vec2<u32>(key_of_bits(logits[first + id]), id);
    if (better(candidate, own)) { own = candidate; }
  }
  // What follows also runs for a row that is not finite: all threads must meet at every barrier.
  let best = best_of_row(lane, own);
  let finite = best.x < INFINITE_KEY && best.x > MINUS_INFINITE_KEY;
  let highest = value_of_key(best.x);

  var token = best.y;
  if (bitcast<f32>(sampling[row * ${SAMPLE_WORDS}u + ${SampleWord.temperature}u]) > 0.0) {
    token = draw(lane, row, first, highest);
  }
  if (lane == 0u) { tokens[row] = select(${SAMPLE_NOT_FINITE}u, token, finite); }
${logprobs ? "  write_record(lane, row, first, highest, token, finite);" : ""}
}
`;
}

const record = `
// [log-probability of the token, entries, then (id, log-probability) descending], of the unmodified logits.
fn write_record(lane: u32, row: u32, first: u32, highest: f32, token: u32, finite: bool) {
  let at = row * (2u + 2u * params.pairs);
  var own = 0.0;
  for (var id = lane; id < params.vocab; id += THREADS) {
    own += exp(relative(key_of_bits(logits[first + id]), highest, 1.0));
  }
  let log_total = log(sum_over_row(lane, vec3<f32>(own, 0.0, 0.0)).x);
  let wanted = sampling[row * ${SAMPLE_WORDS}u + ${SampleWord.logprobCount}u];
  let entries = min(min(wanted, params.pairs), params.vocab);
  if (lane == 0u) {
    records[at] = 0.0;
    records[at + 1u] = 0.0;
    if (finite) {
      records[at] = value_of_key(key_of_bits(logits[first + token])) - highest - log_total;
      records[at + 1u] = f32(entries);
    }
  }
  var previous = vec2<u32>(NAN_KEY, NO_ID);
  for (var entry = 0u; entry < entries; entry += 1u) {
    var best = vec2<u32>(0u, NO_ID);
    for (var id = lane; id < params.vocab; id += THREADS) {
      let candidate = vec2<u32>(key_of_bits(logits[first + id]), id);
      if (better(candidate, best) && (entry == 0u || better(previous, candidate))) { best = candidate; }
    }
    previous = best_of_row(lane, best);
    if (lane == 0u && finite) {
      records[at + 2u + 2u * entry] = f32(previous.y);
      records[at + 3u + 2u * entry] = value_of_key(previous.x) - highest - log_total;
    }
  }
}
`;
