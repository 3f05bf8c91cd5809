/** Compares a gradient with what small changes do. */
import assert from "node:assert/strict";

/**
 * `loss` is computed anew from `values` each time. Every `every`-th entry is moved by ± `step`. What is allowed is
 * relative to the largest entry of the gradient: f32 sums leave about 1e-4 of it.
 */
export async function assertGradient(
  loss: () => number | Promise<number>,
  values: Float32Array,
  gradient: Float32Array,
  label: string,
  { every = 1, step = 1e-2, tolerance = 5e-3 } = {},
): Promise<void> {
  assert.equal(gradient.length, values.length, `${label}: as many slopes as values`);
  const largest = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
  assert(largest > 0, `${label}: the gradient is not zero`);
  for (let at = 0; at < values.length; at += every) {
    const before = values[at];
    values[at] = before + step;
    const up = await loss(), upAt = values[at];
    values[at] = before - step;
    const down = await loss(), slope = (up - down) / (upAt - values[at]);
    values[at] = before;
    const error = Math.abs(slope - gradient[at]) / largest;
    assert(error <= tolerance, `${label}[${at}]: slope ${slope}, gradient ${gradient[at]}`);
  }
}

/** Σ a·b in f64. */
export function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
