/** The oracle against numbers computed by hand: what every parity test rests on. */
import assert from "node:assert/strict";
import { type Activation, FEATURE_ROW, SAMPLE_NOT_FINITE, type Step } from "../../lib/ops/backend.ts";
import type { Tensor } from "../../lib/ops/tensor.ts";
import { activate, erf } from "../reference/activation.ts";
import { ReferenceBackend } from "../reference/backend.ts";
import { uniform } from "../reference/counter_random.ts";
import { survivors } from "../reference/sample.ts";
import { encode } from "../support/half.ts";
import { kvJobs, kvMap, kvShape, storeRows } from "../support/kv.ts";
import { GREEDY, sampleRows } from "../support/sampling.ts";
import { Scope } from "../support/scope.ts";

function near(actual: ArrayLike<number>, expected: readonly number[], error = 1e-6): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    assert.ok(Math.abs(actual[i] - value) <= error, `value ${i} is ${actual[i]}, not ${value}`);
  }
}

/** Runs one step on a fresh oracle and returns the tensor that `record` returns. */
async function run(record: (step: Step, scope: Scope) => Tensor): Promise<Float32Array | Uint32Array> {
  using scope = new Scope(new ReferenceBackend());
  return (await scope.step((step) => [record(step, scope)]))[0];
}

const row = (step: Step, ...values: number[]) => step.upload(1, values.length, Float32Array.from(values));

Deno.test("embed of the oracle takes low ids from the table and high ones from the features", async () => {
  const out = await run((step, scope) => {
    const table = scope.matrix(2, 4, "bf16", Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    const out = step.tensor(3, 4);
    const tokens = step.indices(Uint32Array.of(1, FEATURE_ROW, 0));
    step.embed({ table, features: row(step, -1, -2, -3, -4), tokens, out });
    return out;
  });
  assert.deepEqual([...out], [5, 6, 7, 8, -1, -2, -3, -4, 1, 2, 3, 4]);
});

Deno.test("gatherRows and scatterRows of the oracle are each other's inverse", async () => {
  const out = await run((step) => {
    const x = step.upload(3, 2, Float32Array.of(1, 2, 3, 4, 5, 6));
    const rows = step.indices(Uint32Array.of(2, 0, 1));
    const gathered = step.tensor(3, 2), back = step.tensor(3, 2), both = step.tensor(6, 2);
    step.gatherRows({ x, rows, out: gathered });
    step.scatterRows({ x: gathered, rows, out: back });
    step.scatterRows({ x: gathered, rows: step.indices(Uint32Array.of(0, 1, 2)), out: both });
    step.scatterRows({ x: back, rows: step.indices(Uint32Array.of(3, 4, 5)), out: both });
    return both;
  });
  assert.deepEqual([...out], [5, 6, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6]);
});

Deno.test("rmsNorm of the oracle divides by the root of the mean square", async () => {
  // Mean square of 3 and 4 twice: 12.5; with eps 12.5 the root is 5.
  const out = await run((step) => {
    const out = step.tensor(1, 4);
    step.rmsNorm({ x: row(step, 3, 4, -3, -4), weight: row(step, 1, 2, 1, 1), eps: 12.5, out });
    return out;
  });
  near(out, [0.6, 1.6, -0.6, -0.8]);
});

Deno.test("layerNorm of the oracle subtracts the mean and divides by the biased deviation", async () => {
  // Mean 5, variance (9 + 1 + 1 + 9) / 4 = 5; with eps 4 the root is 3.
  const out = await run((step) => {
    const out = step.tensor(1, 4);
    const weight = row(step, 1, 1, 1, 2), bias = row(step, 0, 0, 10, 0);
    step.layerNorm({ x: row(step, 2, 4, 6, 8), weight, bias, eps: 4, out });
    return out;
  });
  near(out, [-1, -1 / 3, 10 + 1 / 3, 2]);
});

Deno.test("matmul of the oracle multiplies by rows of the weight, adds bias, activates, adds the residual", async () => {
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    const out = await run((step, scope) => {
      const weight = scope.matrix(3, 4, dtype, Float32Array.of(1, 0, 0, 0, 0, 1, 1, 0, -1, -1, -1, -1));
      const out = row(step, 100, 200, 300);
      step.matmul({
        x: row(step, 1, 2, 3, 4),
        weight,
        bias: row(step, 0.5, -1, 2),
        activation: "relu",
        residual: out,
        out,
      });
      return out;
    });
    assert.deepEqual([...out], [101.5, 204, 300], dtype);
  }
});

Deno.test("encode rounds to the nearest f16 and bf16, ties to even", () => {
  const values = Float32Array.of(1, -2.5, 65504, 1 + 2 ** -11, 1 + 3 * 2 ** -11);
  const f16 = encode("f16", values);
  assert.deepEqual([...new Uint16Array(f16.buffer)], [0x3c00, 0xc100, 0x7bff, 0x3c00, 0x3c02]);
  const bf16 = encode("bf16", Float32Array.of(1, -2.5, 1 + 2 ** -8, 1 + 3 * 2 ** -8));
  assert.deepEqual([...new Uint16Array(bf16.buffer)], [0x3f80, 0xc020, 0x3f80, 0x3f82]);
});

Deno.test("activate of the oracle has the published values", () => {
  const at = (activation: Activation) => [-1, 0, 2].map((x) => activate(activation, x));
  near(at("none"), [-1, 0, 2]);
  near(at("silu"), [-0.2689414, 0, 1.7615942]);
  near(at("gelu"), [-0.1586553, 0, 1.9544997]);
  near(at("gelu_tanh"), [-0.1588080, 0, 1.9545977]);
  near(at("quick_gelu"), [-0.1542042, 0, 1.9356586]);
  near(at("relu"), [0, 0, 2]);
  near([erf(0.5), erf(-1), erf(2), erf(3), erf(7)], [
    0.5204998778,
    -0.8427007929,
    0.9953222650,
    0.9999779095,
    1,
  ], 1e-9);
});

Deno.test("gated of the oracle multiplies the activated first half by the second", async () => {
  const out = await run((step) => {
    const out = step.tensor(1, 2);
    step.gated({ x: row(step, -3, 2, 5, 7), activation: "relu", out });
    return out;
  });
  near(out, [0, 14]);
});

Deno.test("ropeWriteKv of the oracle rotates pairs half a head apart; pagedAttention averages what it stored", async () => {
  using scope = new Scope(new ReferenceBackend());
  const shape = { heads: 1, kvHeads: 1, headDim: 4 };
  const pages = scope.pages(kvShape("f32", shape, 4, 2));
  const [qkv, out] = await scope.step((step) => {
    // Slots 0 and 1 in page 3, slot 2 in page 1. Keys are orthogonal to the query, so that scores are equal.
    storeRows(step, pages, [3], 0, Float32Array.of(0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8));
    const qkv = row(step, 1, 2, 3, 4, 0, 0, 0, 0, 9, 1, 2, 6);
    // The first pair turns by a right angle, (a, b) → (−b, a), the second not at all.
    const map = kvMap(step, [{ tokens: 1, slotBase: [2], tables: [[3, 1]] }]);
    step.ropeWriteKv({ qkv, rotary: row(step, 0, 1, 1, 0), shape, pages, map, layer: 0 });
    const out = step.tensor(1, 4);
    step.pagedAttention({ qkv, shape, scale: 1, pages, map, layer: 0, out });
    return [qkv, out];
  });
  assert.deepEqual([...qkv], [-3, 2, 1, 4, 0, 0, 0, 0, 9, 1, 2, 6]);
  near(out, [5, 3, 4, 6]);
});

Deno.test("pagedAttention of the oracle weighs slots by softmax and hides later ones", async () => {
  using scope = new Scope(new ReferenceBackend());
  const shape = { heads: 2, kvHeads: 1, headDim: 4 };
  const pages = scope.pages(kvShape("f16", shape, 1, 4));
  const [out] = await scope.step((step) => {
    // Two tokens of one sequence. Query head 1 scores slot 1 higher by scale · 2 = ln 3.
    const qkv = step.upload(
      2,
      16,
      Float32Array.of(...[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0], ...[
        0,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        4,
        0,
        0,
      ]),
    );
    const map = kvMap(step, [{ tokens: 2, slotBase: [0], tables: [[0]] }]);
    const rotary = step.upload(2, 4, Float32Array.of(1, 1, 0, 0, 1, 1, 0, 0));
    step.ropeWriteKv({ qkv, rotary, shape, pages, map, layer: 0 });
    const out = step.tensor(2, 8);
    step.pagedAttention({ qkv, shape, scale: Math.log(3) / 2, pages, map, layer: 0, out });
    return [out];
  });
  near(out, [8, 0, 0, 0, 8, 0, 0, 0, 4, 2, 0, 0, 2, 3, 0, 0]);
});

Deno.test("segmentAttention of the oracle looks both ways, inside its segment only", async () => {
  const out = await run((step) => {
    const qkv = new Float32Array(3 * 12);
    for (const [t, value] of [2, 4, 100].entries()) qkv[t * 12 + 8] = value;
    const out = step.tensor(3, 4);
    step.segmentAttention({
      qkv: step.upload(3, 12, qkv),
      shape: { heads: 1, kvHeads: 1, headDim: 4 },
      scale: 1,
      segments: step.indices(Uint32Array.of(0, 2, 3)),
      out,
    });
    return out;
  });
  near(out, [3, 0, 0, 0, 3, 0, 0, 0, 100, 0, 0, 0]);
});

Deno.test("patchify of the oracle lists patches row by row and drops the rest", async () => {
  // A 2 × 5 picture in 2 × 2 patches: the fifth column is dropped.
  const out = await run((step) => {
    const pixels = step.upload(1, 30, Float32Array.from({ length: 30 }, (_, i) => i));
    const out = step.tensor(2, 12);
    step.patchify({ pixels, height: 2, width: 5, patch: 2, out });
    return out;
  });
  assert.deepEqual(
    [...out],
    [0, 1, 5, 6, 10, 11, 15, 16, 20, 21, 25, 26, 2, 3, 7, 8, 12, 13, 17, 18, 22, 23, 27, 28],
  );
});

Deno.test("visionEmbed of the oracle puts the class token first in every image", async () => {
  const out = await run((step) => {
    const out = step.tensor(4, 1);
    step.visionEmbed({
      patches: step.upload(2, 1, Float32Array.of(10, 20)),
      classToken: row(step, 5),
      positions: step.upload(2, 1, Float32Array.of(0.25, 0.5)),
      images: 2,
      out,
    });
    return out;
  });
  assert.deepEqual([...out], [5.25, 10.5, 5.25, 20.5]);
});

Deno.test("kvNorm, kvTop and kvGather of the oracle keep the slots of the smallest keys", async () => {
  using scope = new Scope(new ReferenceBackend());
  const shape = { heads: 1, kvHeads: 1, headDim: 4 };
  const pages = scope.pages(kvShape("f32", shape, 3, 2));
  const [scores, kept, out] = await scope.step((step) => {
    const rows = [[3, 4], [0, 1], [0, 0], [1, 0]].flatMap(([a, b], slot) => [a, b, 0, 0, slot, 0, 0, 0]);
    storeRows(step, pages, [2, 0], 0, Float32Array.from(rows));
    const jobs = kvJobs(step, [{ slots: 4, kept: 2, source: [2, 0], target: [1] }]);
    const scores = step.tensor(1, 4), kept = step.tensor(1, 2, "u32"), out = step.tensor(1, 4);
    step.kvNorm({ pages, jobs, scores });
    step.kvTop({ jobs, kvHeads: 1, scores, kept });
    step.kvGather({ pages, jobs, kept });
    const map = kvMap(step, [{ tokens: 1, slotBase: [1], tables: [[1]] }]);
    step.pagedAttention({
      qkv: step.upload(1, 12, new Float32Array(12)),
      shape,
      scale: 1,
      pages,
      map,
      layer: 0,
      out,
    });
    return [scores, kept, out];
  });
  near(scores, [-5, -1, 0, -1]);
  assert.deepEqual([...kept], [1, 2], "slots 1 and 3 tie, the lower one stays");
  near(out, [1.5, 0, 0, 0]);
});

Deno.test("kvMean of the oracle averages groups and leaves the remainder", async () => {
  using scope = new Scope(new ReferenceBackend());
  const shape = { heads: 1, kvHeads: 1, headDim: 4 };
  const pages = scope.pages(kvShape("f16", shape, 4, 4));
  const [scores, out] = await scope.step((step) => {
    // Keys 2, 4, 6, 8, 10 and values 1, 3, 5, 7, 20 in pairs: keys 3, 7, 10 and values 2, 6, 20.
    const rows = [[2, 1], [4, 3], [6, 5], [8, 7], [10, 20]].flatMap(([k, v]) => [k, 0, 0, 0, v, 0, 0, 0]);
    storeRows(step, pages, [1, 3], 0, Float32Array.from(rows));
    step.kvMean({
      pages,
      jobs: kvJobs(step, [{ slots: 5, kept: 3, source: [1, 3], target: [2] }]),
      factor: 2,
    });
    const scores = step.tensor(1, 3);
    step.kvNorm({ pages, jobs: kvJobs(step, [{ slots: 3, kept: 1, source: [2], target: [0] }]), scores });
    const out = step.tensor(3, 4);
    const map = kvMap(step, [0, 1, 2].map((slot) => ({ tokens: 1, slotBase: [slot], tables: [[2]] })));
    step.pagedAttention({
      qkv: step.upload(3, 12, new Float32Array(36)),
      shape,
      scale: 1,
      pages,
      map,
      layer: 0,
      out,
    });
    return [scores, out];
  });
  near(scores, [-3, -7, -10]);
  near([out[0], out[4], out[8]], [2, (2 + 6) / 2, (2 + 6 + 20) / 3]);
});

Deno.test("KV pages of the oracle round to f16 and hold outliers at the largest f16", async () => {
  using scope = new Scope(new ReferenceBackend());
  const shape = { heads: 1, kvHeads: 1, headDim: 4 };
  const pages = scope.pages(kvShape("f16", shape, 1, 4));
  const [out] = await scope.step((step) => {
    storeRows(step, pages, [0], 0, Float32Array.of(0, 0, 0, 0, 0.1, 1e6, -1e6, 2049));
    const map = kvMap(step, [{ tokens: 1, slotBase: [0], tables: [[0]] }]);
    const out = step.tensor(1, 4);
    step.pagedAttention({
      qkv: step.upload(1, 12, new Float32Array(12)),
      shape,
      scale: 1,
      pages,
      map,
      layer: 0,
      out,
    });
    return [out];
  });
  near(out, [0.0999755859375, 65504, -65504, 2048], 0);
});

Deno.test("survivors of the oracle apply top-k, then top-p of the rest, then min-p", () => {
  // Probabilities 0.4, 0.3, 0.2, 0.1.
  const logits = Float64Array.of(0.3, 0.1, 0.4, 0.2).map(Math.log);
  const of = (filter: Partial<typeof GREEDY>) => survivors(logits, { ...GREEDY, temperature: 1, ...filter });
  assert.deepEqual(of({}), [0, 1, 2, 3]);
  assert.deepEqual(of({ topK: 2 }), [0, 2]);
  assert.deepEqual(of({ topP: 0.65 }), [0, 2]);
  assert.deepEqual(of({ topP: 0.75 }), [0, 2, 3]);
  assert.deepEqual(of({ topP: 0 }), [2]);
  // Of the best two alone, 0.4 / 0.7 = 0.57 is enough.
  assert.deepEqual(of({ topK: 2, topP: 0.55 }), [2]);
  assert.deepEqual(of({ minP: 0.6 }), [0, 2]);
  // Squared probabilities: 0.16, 0.09, 0.04, 0.01.
  assert.deepEqual(of({ minP: 0.6, temperature: 0.5 }), [2]);
});

Deno.test("sample of the oracle is greedy at temperature 0 and reports log-probabilities", async () => {
  using scope = new Scope(new ReferenceBackend());
  const logits = Float32Array.from([0.1, 0.4, 0.4, 0.1], Math.log);
  const { tokens, logprobs } = await sampleRows(scope, logits, [{ ...GREEDY, logprobCount: 2 }], 2);
  assert.deepEqual([...tokens], [1]);
  near(logprobs, [Math.log(0.4), 2, 1, Math.log(0.4), 2, Math.log(0.4)]);
  const bad = await sampleRows(scope, Float32Array.of(1, NaN), [GREEDY]);
  assert.deepEqual([...bad.tokens], [SAMPLE_NOT_FINITE]);
});

Deno.test("uniform of the oracle is never 0 or 1, exact in f32, and even", () => {
  let sum = 0;
  for (let i = 0; i < 10_000; i++) {
    const u = uniform(i % 7, i, 3, i * 5);
    assert.ok(u > 0 && u < 1 && Math.fround(u) === u);
    sum += u;
  }
  // The mean of 10,000 uniform numbers has a standard deviation of 0.0029.
  assert.ok(Math.abs(sum / 10_000 - 0.5) < 0.01);
});

Deno.test("ReferenceBackend refuses what a device would compute wrongly in silence", async () => {
  const backend = new ReferenceBackend();
  const step = backend.begin();
  assert.throws(() => backend.begin(), /one step is open/);
  const x = step.upload(1, 4, new Float32Array(4)), out = step.tensor(1, 8);
  assert.throws(() => step.rmsNorm({ x, weight: x, eps: 1, out }), /1 × 4 is needed, not 1 × 8/);
  const view = step.view(out, 2, 4);
  step.release(out);
  assert.throws(() => step.view(view, 1, 8), /not given back/);
  assert.throws(() => step.release(out), /not given back/);
  const fresh = step.tensor(1, 4);
  const [unwritten] = await step.finish([fresh]);
  assert.ok(new Float32Array(unwritten).every(Number.isNaN), "scratch that nothing wrote is NaN");
  assert.throws(
    () => step.gatherRows({ x, rows: step.indices(Uint32Array.of(0)), out: fresh }),
    /not given back/,
  );
  assert.equal(backend.liveBytes(), 0);
  backend.close();
});

Deno.test("ReferenceBackend counts what it holds until it is destroyed", () => {
  const backend = new ReferenceBackend();
  const tensor = backend.createTensor(2, 3), matrix = backend.createMatrix(3, 4, "f16");
  const pages = backend.createKvPages(kvShape("f16", { heads: 1, kvHeads: 1, headDim: 4 }, 2));
  assert.equal(backend.liveBytes(), 6 * 8 + 12 * 4 + pages.shape.pageBytes * 2);
  backend.destroyTensor(tensor);
  backend.destroyMatrix(matrix);
  backend.destroyKvPages(pages);
  assert.equal(backend.liveBytes(), 0);
  assert.throws(() => backend.destroyTensor(tensor), /not given back/);
});
