import assert from "node:assert/strict";
import { addAttendGradients, attend, type Run } from "../../../lib/train/attention.ts";
import { curveOf, gated, gatedGradient } from "../../../lib/train/gated.ts";
import { addLinearGradients, linear, linearInputGradient } from "../../../lib/train/linear.ts";
import { distance, divergence } from "../../../lib/train/loss.ts";
import { rmsNorm, rmsNormGradient } from "../../../lib/train/rms_norm.ts";
import { rotate } from "../../../lib/train/rope.ts";
import { StartError } from "../../../lib/core/errors.ts";
import { Draw, randomRotary } from "../../support/cases.ts";
import { assertGradient, dot } from "./finite_difference.ts";

Deno.test("linear and its gradients agree with small changes, widths of no multiple of four", async () => {
  for (const [rows, inputs, outputs] of [[5, 7, 6], [4, 8, 4], [1, 3, 1]]) {
    const draw = new Draw(rows);
    const x = draw.normal(rows * inputs), w = draw.normal(outputs * inputs), b = draw.normal(outputs);
    const dy = draw.normal(rows * outputs);
    const loss = () => dot(linear(x, w, b, rows), dy);
    const dw = new Float32Array(w.length), db = new Float32Array(b.length);
    addLinearGradients(dy, x, rows, dw, db);
    await assertGradient(loss, x, linearInputGradient(dy, w, rows, outputs), "x");
    await assertGradient(loss, w, dw, "w");
    await assertGradient(loss, b, db, "b");
  }
});

Deno.test("rmsNormGradient agrees with small changes", async () => {
  const draw = new Draw(1), x = draw.normal(24), weight = draw.normal(8, 0.3, 1), dy = draw.normal(24);
  await assertGradient(() => dot(rmsNorm(x, weight, 1e-5), dy), x, rmsNormGradient(x, weight, 1e-5, dy), "x");
});

Deno.test("gatedGradient agrees with small changes, for every activation with a known slope", async () => {
  for (const activation of ["silu", "quick_gelu", "gelu_tanh", "relu"] as const) {
    const draw = new Draw(2), x = draw.normal(36), dy = draw.normal(18), curve = curveOf(activation);
    const gradient = gatedGradient(x, 6, curve, dy);
    await assertGradient(() => dot(gated(x, 6, curve), dy), x, gradient, activation, { step: 2e-3 });
  }
  assert.throws(() => curveOf("gelu"), StartError);
});

Deno.test("rotate turned back is where it was, and leaves values behind the heads alone", () => {
  const draw = new Draw(3), x = draw.normal(3 * 20), rotary = randomRotary(draw, 3, 4), turned = x.slice();
  rotate(turned, 20, 3, rotary, 4, 1);
  for (let at = 0; at < x.length; at++) assert.equal(turned[at] === x[at], at % 20 >= 12);
  rotate(turned, 20, 3, rotary, 4, -1);
  for (let at = 0; at < x.length; at++) assert(Math.abs(turned[at] - x[at]) < 1e-6);
});

Deno.test("addAttendGradients agrees with small changes of queries, keys and values, stored and own", async () => {
  const headDim = 4, tokens = 3, draw = new Draw(4);
  const q = draw.normal(tokens * 9), dout = draw.normal(tokens * 5);
  const cache = (slots: number) => ({ keys: draw.normal(slots * 4 + 2), values: draw.normal(slots * 4 + 2) });
  const [stored, more, own] = [cache(5), cache(1), cache(tokens)];
  const runs: Run[] = [
    { ...stored, at: 2, count: 5, own: false },
    { ...more, at: 0, count: 1, own: false },
    { ...own, at: 0, count: tokens, own: true },
  ];
  const rows = (values: Float32Array, stride: number) => ({ values, at: 1, stride });
  const forward = () => {
    const out = new Float32Array(dout.length);
    const weights = attend(rows(q, 9), rows(out, 5), tokens, runs, headDim, 0.5);
    return { out, weights };
  };
  const gradients = runs.map(({ keys, values }) => ({
    keys: new Float32Array(keys.length),
    values: new Float32Array(values.length),
  }));
  const dq = new Float32Array(q.length);
  const { weights } = forward();
  addAttendGradients(rows(q, 9), rows(dq, 9), rows(dout, 5), tokens, runs, gradients, weights, headDim, 0.5);
  // Only what the head's rows hold counts.
  const loss = () => dot(forward().out, dout);
  await assertGradient(loss, q, dq, "q");
  for (const [i, run] of runs.entries()) {
    // The keys of a run of one slot that everyone sees still move the weights of the others.
    await assertGradient(loss, run.keys, gradients[i].keys, `keys ${i}`);
    await assertGradient(loss, run.values, gradients[i].values, `values ${i}`);
  }
  const first = weights.subarray(0, 9);
  assert.deepEqual([...first.subarray(7)], [0, 0], "the first token does not see the later ones");
  assert(Math.abs(first.reduce((sum, weight) => sum + weight, 0) - 1) < 1e-6);
});

Deno.test("divergence is zero for equal distributions, counts agreement, and has the gradient of small changes", async () => {
  const draw = new Draw(5), teacher = draw.normal(3 * 7, 2), weights = Float32Array.of(1, 0.5, 2);
  const shifted = teacher.map((value) => value + 3);
  const same = divergence(shifted, teacher, 7, weights);
  assert(Math.abs(same.value) < 1e-5 && same.agreed === 3);
  const student = draw.normal(3 * 7, 2);
  const { gradient, value } = divergence(student, teacher, 7, weights);
  assert(value > 0);
  await assertGradient(() => divergence(student, teacher, 7, weights).value, student, gradient, "logits");
});

Deno.test("distance has the gradient of small changes", async () => {
  const draw = new Draw(6), student = draw.normal(10), teacher = draw.normal(10);
  const weights = Float32Array.of(1, 0.25);
  const { gradient } = distance(student, teacher, 5, weights);
  await assertGradient(() => distance(student, teacher, 5, weights).value, student, gradient, "hidden");
});
