/** Activations in f64. */
import type { Activation } from "../../lib/ops/backend.ts";
import { unreachable } from "../../lib/core/assert.ts";

export function activate(activation: Activation, x: number): number {
  switch (activation) {
    case "none":
      return x;
    case "silu":
      return x * sigmoid(x);
    case "gelu":
      return 0.5 * x * (1 + erf(x / Math.SQRT2));
    case "gelu_tanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "quick_gelu":
      return x * sigmoid(1.702 * x);
    case "relu":
      return x < 0 ? 0 : x;
    default:
      return unreachable(activation);
  }
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/**
 * erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)): all terms have one sign, so nothing cancels.
 * At |x| = 6 the sum takes about 120 terms; beyond, 1 − |erf| is below 2.2e-17.
 */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x, sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}
