import assert from "node:assert/strict";
import { SAMPLE_NOT_FINITE } from "../../lib/ops/backend.ts";
import { perturbed, type SampleParams, survivors } from "../reference/sample.ts";
import { softmax } from "../reference/softmax.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { GREEDY, repeated, sampleRows } from "../support/sampling.ts";

const HOT: SampleParams = { ...GREEDY, temperature: 1, seedLow: 12345, seedHigh: 678 };

/** `count` draws of one row: the same seed, counters 0, 1, 2 … */
function draws(params: SampleParams, count: number): SampleParams[] {
  return Array.from({ length: count }, (_, counter) => ({ ...params, counter }));
}

testParity(
  "sample takes the largest logit when temperature is 0, ties to the lower id",
  "exact",
  pairs([1, 3, 17], [2, 33, 64, 65, 1000, 4099]),
  async (scope, [rows, vocab]) => {
    const draw = new Draw(rows * vocab);
    // Few distinct values, so that every row has ties for the largest.
    const logits = Float32Array.from({ length: rows * vocab }, () => draw.integer(5) - 10);
    const { tokens } = await sampleRows(scope, logits, Array.from({ length: rows }, () => GREEDY));
    return [tokens];
  },
);

testEach("sample with temperature draws every token as often as its softmax says", async (scope) => {
  const count = 8192, vocab = 12, temperature = 0.7;
  const logits = new Draw(3).normal(vocab, 1.2);
  const expected = softmax(Float64Array.from(logits, (logit) => logit / temperature));
  for (const seedLow of [1, 2, 3]) {
    const params = draws({ ...HOT, temperature, seedLow }, count);
    const { tokens } = await sampleRows(scope, repeated(logits, count), params);
    const seen = new Float64Array(vocab);
    for (const token of tokens) seen[token]++;
    let chiSquare = 0;
    for (let id = 0; id < vocab; id++) {
      chiSquare += (seen[id] - count * expected[id]) ** 2 / (count * expected[id]);
    }
    // 11 degrees of freedom: 31.3 is exceeded once in a thousand fair runs, and the seeds are fixed.
    assert.ok(chiSquare < 31.3, `chi-square ${chiSquare} of seed ${seedLow}`);
  }
});

testEach("sample draws independently for seeds and for counters in a row", async (scope) => {
  const count = 4096;
  const byCounter = draws(HOT, count);
  const bySeed = Array.from({ length: count }, (_, seedLow) => ({ ...HOT, seedLow }));
  const byHighSeed = Array.from({ length: count }, (_, seedHigh) => ({ ...HOT, seedHigh }));
  for (const params of [byCounter, bySeed, byHighSeed]) {
    const { tokens } = await sampleRows(scope, new Float32Array(2 * count), params);
    const ones = tokens.reduce((sum, token) => sum + token, 0);
    const repeats = tokens.subarray(1).reduce((sum, token, i) => sum + (token === tokens[i] ? 1 : 0), 0);
    // Half of 4096 each, standard deviation 32.
    assert.ok(Math.abs(ones - 2048) < 128, `${ones} ones`);
    assert.ok(Math.abs(repeats - 2048) < 128, `${repeats} repeats`);
  }
});

/** Filters, alone and together; each leaves some tokens out. */
const FILTERS: readonly Partial<SampleParams>[] = [
  { topK: 1 },
  { topK: 5 },
  { topK: 40, topP: 0.5 },
  { topP: 0.1 },
  { topP: 0.8 },
  { topP: 0 },
  { minP: 0.2 },
  { minP: 1 },
  { topK: 20, topP: 0.9, minP: 0.05, temperature: 1.5 },
  { topP: 0.7, temperature: 0.3 },
];

testEach(
  "sample never selects outside what top-k, top-p and min-p leave, and reaches all of it",
  async (scope) => {
    const count = 512, vocab = 130;
    const logits = new Draw(17).normal(vocab, 2);
    for (const filter of FILTERS) {
      const params = { ...HOT, ...filter };
      const { tokens } = await sampleRows(scope, repeated(logits, count), draws(params, count));
      const wide = Float64Array.from(logits);
      const allowed = new Set(survivors(wide, params));
      const seen = new Set(tokens);
      for (const token of seen) assert.ok(allowed.has(token), `${JSON.stringify(filter)} selected ${token}`);
      const probabilities = softmax(Float64Array.from(allowed, (id) => wide[id] / params.temperature));
      for (const [i, id] of [...allowed].entries()) {
        // A token of 5 % stays out of 512 draws with probability 4e-12.
        if (probabilities[i] > 0.05) {
          assert.ok(
            seen.has(id),
            `${JSON.stringify(filter)} never selected ${id}`,
          );
        }
      }
    }
  },
);

testEach("sample keeps all tokens that tie at the threshold of top-k and of top-p", async (scope) => {
  const logits = Float32Array.of(1, 3, 2, 3, 2, 2, 0, -1);
  for (const filter of [{ topK: 3 }, { topK: 5 }, { topP: 0.7 }]) {
    const { tokens } = await sampleRows(scope, repeated(logits, 512), draws({ ...HOT, ...filter }, 512));
    assert.deepEqual([...new Set(tokens)].sort(), [1, 2, 3, 4, 5], JSON.stringify(filter));
  }
});

testEach("sample draws the oracle's tokens, except where the two best are nearly equal", async (scope) => {
  const count = 300, vocab = 1500;
  const draw = new Draw(23);
  const logits = draw.normal(count * vocab, 2.5);
  const params = draws(HOT, count).map((one, row) => ({
    ...one,
    ...FILTERS[row % FILTERS.length],
    seedLow: draw.integer(2 ** 32),
    seedHigh: draw.integer(2 ** 32),
  }));
  const { tokens } = await sampleRows(scope, logits, params);
  let equal = 0;
  for (const [row, token] of tokens.entries()) {
    const values = perturbed(Float64Array.from(logits.subarray(row * vocab, (row + 1) * vocab)), params[row]);
    const best = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
    if (token === best) equal++;
    // f32 logarithms of numbers near 1 are off by a few 1e-5 at most.
    else assert.ok(values[best] - values[token] < 1e-3, `row ${row}: token ${token}, not ${best}`);
  }
  assert.ok(equal >= count - 1, `${equal} of ${count} rows agree`);
});

testEach("sample gives a row the same token and logprobs alone and in any batch", async (scope) => {
  const rows = 16, vocab = 777;
  const draw = new Draw(29);
  const logits = draw.normal(rows * vocab, 3);
  const params = Array.from({ length: rows }, (_, row) => ({
    ...HOT,
    ...FILTERS[row % FILTERS.length],
    temperature: row % 5 === 0 ? 0 : 0.9,
    seedLow: row,
    logprobCount: row % 4,
  }));
  const columns = 2 + 2 * 3;
  const alone = [];
  for (let row = 0; row < rows; row++) {
    alone.push(await sampleRows(scope, logits.subarray(row * vocab, (row + 1) * vocab), [params[row]], 3));
  }
  for (const count of [2, 4, 7, 16]) {
    const first = rows - count;
    const { tokens, logprobs } = await sampleRows(
      scope,
      logits.subarray(first * vocab),
      params.slice(first),
      3,
    );
    for (let i = 0; i < count; i++) {
      const filled = 2 + 2 * params[first + i].logprobCount;
      assert.equal(tokens[i], alone[first + i].tokens[0], `row ${i} of ${count}`);
      assertSameBits(
        logprobs.subarray(i * columns, i * columns + filled),
        alone[first + i].logprobs.subarray(0, filled),
        `logprobs of row ${i} of ${count}`,
      );
    }
  }
});

testEach("sample marks rows that are not finite, and no others", async (scope) => {
  const vocab = 300;
  const fine = new Draw(31).normal(vocab);
  const filled = (value: number) => new Float32Array(vocab).fill(value);
  const withOne = (value: number) => fine.map((logit, id) => id === 288 ? value : logit);
  const rows = [
    fine,
    filled(NaN),
    withOne(NaN),
    withOne(Infinity),
    filled(-Infinity),
    withOne(-Infinity),
    fine,
  ];
  const logits = Float32Array.from(rows.flatMap((values) => [...values]));
  for (const params of [GREEDY, HOT, { ...HOT, topK: 3, topP: 0.9, minP: 0.1 }]) {
    const { tokens } = await sampleRows(scope, logits, rows.map(() => params));
    const marked = [...tokens].map((token) => token === SAMPLE_NOT_FINITE);
    assert.deepEqual(marked, [false, true, true, true, true, false, false], JSON.stringify(params));
    const [alone] = (await sampleRows(scope, fine, [params])).tokens;
    assert.deepEqual([tokens[0], tokens[5], tokens[6]], [alone, alone, alone], "the rows beside them");
  }
});

testEach("sample never selects a token whose logit is minus infinity", async (scope) => {
  const logits = Float32Array.of(0, -Infinity, 0.5, -Infinity);
  const { tokens } = await sampleRows(scope, repeated(logits, 256), draws({ ...HOT, temperature: 2 }, 256));
  assert.deepEqual([...new Set(tokens)].sort(), [0, 2]);
});

testEach("sample reports the log-softmax of the unmodified logits within 1e-5", async (scope) => {
  for (const [vocab, scale] of [[20, 1], [1000, 4], [4099, 8]]) {
    const rows = 6, alternatives = 20;
    const logits = new Draw(vocab).normal(rows * vocab, scale);
    const params = Array.from({ length: rows }, (_, row) => ({
      ...HOT,
      temperature: row % 2,
      topK: 7,
      counter: row,
      logprobCount: [20, 0, 5, 1, 20, 19][row],
    }));
    const { tokens, logprobs } = await sampleRows(scope, logits, params, alternatives);
    for (let row = 0; row < rows; row++) {
      const values = Float64Array.from(logits.subarray(row * vocab, (row + 1) * vocab));
      const exact = softmax(values).map(Math.log);
      const order = Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
      const record = logprobs.subarray(row * 42, (row + 1) * 42);
      const near = (actual: number, expected: number, what: string) =>
        assert.ok(Math.abs(actual - expected) < 1e-5, `${what} of row ${row}: ${actual}, not ${expected}`);
      near(record[0], exact[tokens[row]], "the chosen token's log-probability");
      assert.equal(record[1], params[row].logprobCount);
      for (let i = 0; i < record[1]; i++) {
        assert.equal(record[2 + 2 * i], order[i], `alternative ${i} of row ${row}`);
        near(record[3 + 2 * i], exact[order[i]], `alternative ${i}`);
      }
    }
  }
});

testEach("sample lists equal alternatives by id, no more than there are tokens", async (scope) => {
  const logits = Float32Array.of(1, 2, 1, 2, 1);
  const { logprobs } = await sampleRows(scope, logits, [{ ...GREEDY, logprobCount: 8 }], 8);
  assert.equal(logprobs[1], 5);
  assert.deepEqual([2, 4, 6, 8, 10].map((at) => logprobs[at]), [1, 3, 0, 2, 4]);
});
