/** The formulas of the self-test in f64, without regard to speed. */
import type { Activation } from "../ops/backend.ts";
import type { KvBits, KvDtype } from "../ops/kv.ts";

/** The error function by its Taylor series: good to 1e-8 for |z| ≤ 4.3, which is all that is asked of it. */
function erf(z: number): number {
  let term = z, sum = z;
  for (let n = 1; n < 100; n++) {
    term *= -z * z / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

export function activated(kind: Activation, x: number): number {
  const sigmoid = (value: number) => 1 / (1 + Math.exp(-value));
  switch (kind) {
    case "none":
      return x;
    case "relu":
      return Math.max(0, x);
    case "silu":
      return x * sigmoid(x);
    case "quick_gelu":
      return x * sigmoid(1.702 * x);
    case "gelu_tanh":
      return x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "gelu":
      // Beyond 6 the Taylor series loses its digits, and erf has none left that are not 1.
      return Math.abs(x) > 6 ? Math.max(0, x) : x / 2 * (1 + erf(x / Math.SQRT2));
  }
}

interface Norm {
  readonly x: Float32Array;
  readonly dim: number;
  readonly weight: Float32Array;
  /** Read by layer_norm. */
  readonly bias: Float32Array;
  readonly eps: number;
}

export function normed(kind: "rms" | "layer", { x, dim, weight, bias, eps }: Norm): Float64Array {
  const out = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += dim) {
    const row = x.subarray(first, first + dim);
    const mean = kind === "rms" ? 0 : row.reduce((sum, value) => sum + value, 0) / dim;
    const square = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / dim;
    for (let d = 0; d < dim; d++) {
      out[first + d] = (row[d] - mean) / Math.sqrt(square + eps) * weight[d] + (kind === "rms" ? 0 : bias[d]);
    }
  }
  return out;
}

/** softmax(scale · q · keysᵀ) · values for one query; `keys` and `values` are one row a visible slot. */
export function attended(
  q: ArrayLike<number>,
  keys: readonly ArrayLike<number>[],
  values: readonly ArrayLike<number>[],
  scale: number,
): Float64Array {
  const out = new Float64Array(q.length);
  const scores = keys.map((key) => {
    let sum = 0;
    for (let d = 0; d < q.length; d++) sum += q[d] * key[d];
    return scale * sum;
  });
  const largest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (const [slot, weight] of weights.entries()) {
    for (let d = 0; d < q.length; d++) out[d] += weight / total * values[slot][d];
  }
  return out;
}

/** Pairs (i, i + half) of one head turned by angles [cos (half), sin (half)]. */
export function rotated(head: ArrayLike<number>, angles: ArrayLike<number>): Float64Array {
  const half = head.length / 2, out = new Float64Array(head.length);
  for (let i = 0; i < half; i++) {
    const cos = angles[i], sin = angles[half + i];
    out[i] = head[i] * cos - head[half + i] * sin;
    out[half + i] = head[half + i] * cos + head[i] * sin;
  }
  return out;
}

/** What codes of `bits` stand for that share a pair: all of `values`, which are at most as many as share one. */
export function quantised(values: readonly number[], bits: KvBits, dtype: KvDtype): number[] {
  const stored = (x: number) => dtype === "f16" ? Math.f16round(x) : x, most = 2 ** bits - 1;
  const lowest = Math.min(...values), range = Math.fround(Math.max(...values) - lowest);
  const least = stored(lowest), scale = stored(Math.fround(range / most)) || 1;
  return values.map((x) => {
    const exact = Math.fround(Math.fround(x - least) / scale), below = Math.floor(exact);
    // No code lies on a half of the values that are tested.
    const code = Math.min(most, Math.max(0, exact - below < 0.5 ? below : below + 1));
    return stored(Math.fround(Math.fround(code * scale) + least));
  });
}
