// activation: `fn activate(x: f32) -> f32`; part of matmul and gated.
// Exponents are clamped to where exp stays finite: WGSL promises nothing about infinities. A NaN stays one.
// Reference: tests/reference/activation.ts
import type { Activation } from "../lib/ops/backend.ts";

/** x · sigmoid(u); below −87 the result rounds to nothing against any sum it joins. */
const TIMES_SIGMOID = `fn times_sigmoid(x: f32, u: f32) -> f32 { return x / (1.0 + exp(min(-u, 87.0))); }`;

export function activationFunction(activation: Activation): string {
  switch (activation) {
    case "none":
      return `fn activate(x: f32) -> f32 { return x; }`;
    case "relu": // not max(x, 0), which loses a NaN
      return `fn activate(x: f32) -> f32 { return select(x, 0.0, x < 0.0); }`;
    case "silu":
      return `${TIMES_SIGMOID}
fn activate(x: f32) -> f32 { return times_sigmoid(x, x); }`;
    case "quick_gelu":
      return `${TIMES_SIGMOID}
fn activate(x: f32) -> f32 { return times_sigmoid(x, 1.702 * x); }`;
    case "gelu_tanh":
      // 0.5·x·(1 + tanh(v)) = x · sigmoid(2v), v = √(2/π)·(x + 0.044715·x³): no tanh to overflow.
      return `${TIMES_SIGMOID}
fn activate(x: f32) -> f32 {
  let c = clamp(x, -30.0, 30.0);
  return times_sigmoid(x, ${2 * Math.sqrt(2 / Math.PI)} * (c + 0.044715 * c * c * c));
}`;
    case "gelu":
      // 0.5·x·(1 + erf(x/√2)) by erfc(z) = t·(a₁ + t·(…a₅))·exp(−z²), t = 1/(1 + p·z), z = |x|/√2, of absolute error
      // 1.5e-7 (Abramowitz and Stegun 7.1.26). Through erfc, so that the left tail does not cancel.
      return `fn activate(x: f32) -> f32 {
  let z = abs(x) * ${Math.SQRT1_2};
  let t = 1.0 / fma(0.3275911, z, 1.0);
  var p = fma(1.061405429, t, -1.453152027);
  p = fma(p, t, 1.421413741);
  p = fma(p, t, -0.284496736);
  p = fma(p, t, 0.254829592);
  let half_tail = 0.5 * p * t * exp(-min(z * z, 87.0));
  return select(x * half_tail, x - x * half_tail, x >= 0.0);
}`;
  }
}
