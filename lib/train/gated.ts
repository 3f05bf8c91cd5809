/** Gated feed-forward, activation(gate) · up, and its gradient. */
import { StartError } from "../core/errors.ts";
import type { Activation } from "../ops/backend.ts";

/** Value and slope of an activation. */
type Curve = (x: number) => readonly [value: number, slope: number];

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const CURVES: Partial<Record<Activation, Curve>> = {
  silu: (x) => {
    const s = sigmoid(x);
    return [x * s, s * (1 + x * (1 - s))];
  },
  quick_gelu: (x) => {
    const s = sigmoid(1.702 * x);
    return [x * s, s * (1 + 1.702 * x * (1 - s))];
  },
  gelu_tanh: (x) => {
    const c = Math.sqrt(2 / Math.PI), t = Math.tanh(c * (x + 0.044715 * x ** 3));
    return [0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)];
  },
  relu: (x) => [Math.max(0, x), x > 0 ? 1 : 0],
};

/** Throws StartError for an activation whose slope is not known here. */
export function curveOf(activation: Activation): Curve {
  const curve = CURVES[activation];
  if (curve === undefined) {
    throw new StartError(`a model with activation ${activation} cannot be trained through`);
  }
  return curve;
}

/** x [rows, 2 · width]: gates, then what they let through. Returns [rows, width]. */
export function gated(x: Float32Array, width: number, curve: Curve): Float32Array {
  const rows = x.length / (2 * width), y = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const gate = row * 2 * width, up = gate + width;
    for (let i = 0; i < width; i++) y[row * width + i] = curve(x[gate + i])[0] * x[up + i];
  }
  return y;
}

export function gatedGradient(x: Float32Array, width: number, curve: Curve, dy: Float32Array): Float32Array {
  const rows = x.length / (2 * width), dx = new Float32Array(x.length);
  for (let row = 0; row < rows; row++) {
    const gate = row * 2 * width, up = gate + width;
    for (let i = 0; i < width; i++) {
      const [value, slope] = curve(x[gate + i]), d = dy[row * width + i];
      dx[gate + i] = d * slope * x[up + i];
      dx[up + i] = d * value;
    }
  }
  return dx;
}
