/** Attention of a few new tokens over what came before them and over each other, and its gradients. */

/** One KV head's stored slots: [count, headDim] from `at` on. */
export interface Run {
  readonly keys: Float32Array;
  readonly values: Float32Array;
  readonly at: number;
  readonly count: number;
  /** True: the tokens themselves; token t sees the first t + 1 of them. */
  readonly own: boolean;
}

/** Gradients of a run's keys and values, in the same places. */
export interface RunGradient {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

/** One query head: [tokens] rows of `stride` values, the head's own from `at` on. */
export interface Rows {
  readonly values: Float32Array;
  readonly at: number;
  readonly stride: number;
}

const seen = (run: Run, token: number) => run.own ? token + 1 : run.count;

/** Writes the head's rows of `out` and returns the weights [tokens, all slots]. */
export function attend(
  q: Rows,
  out: Rows,
  tokens: number,
  runs: readonly Run[],
  headDim: number,
  scale: number,
): Float32Array {
  const slots = runs.reduce((sum, { count }) => sum + count, 0);
  const weights = new Float32Array(tokens * slots);
  for (let t = 0; t < tokens; t++) {
    const query = q.at + t * q.stride, row = t * slots;
    let base = row, largest = -Infinity;
    for (const run of runs) {
      for (let s = 0; s < seen(run, t); s++) {
        let dot = 0;
        const key = run.at + s * headDim;
        for (let d = 0; d < headDim; d++) dot += q.values[query + d] * run.keys[key + d];
        weights[base + s] = dot * scale;
        largest = Math.max(largest, dot * scale);
      }
      base += run.count;
    }
    let sum = 0;
    base = row;
    for (const run of runs) {
      for (let s = 0; s < seen(run, t); s++) sum += weights[base + s] = Math.exp(weights[base + s] - largest);
      base += run.count;
    }
    base = row;
    const to = out.at + t * out.stride;
    for (const run of runs) {
      for (let s = 0; s < seen(run, t); s++) {
        const weight = weights[base + s] /= sum, value = run.at + s * headDim;
        for (let d = 0; d < headDim; d++) out.values[to + d] += weight * run.values[value + d];
      }
      base += run.count;
    }
  }
  return weights;
}

/** Adds to the gradients of the queries and of every run, given those of `out`. */
export function addAttendGradients(
  q: Rows,
  dq: Rows,
  dout: Rows,
  tokens: number,
  runs: readonly Run[],
  gradients: readonly RunGradient[],
  weights: Float32Array,
  headDim: number,
  scale: number,
): void {
  const slots = runs.reduce((sum, { count }) => sum + count, 0);
  const dweights = new Float32Array(slots);
  for (let t = 0; t < tokens; t++) {
    const query = q.at + t * q.stride, dquery = dq.at + t * dq.stride, from = dout.at + t * dout.stride;
    const row = t * slots;
    let base = 0, mean = 0;
    for (const [i, run] of runs.entries()) {
      const dvalues = gradients[i].values;
      for (let s = 0; s < seen(run, t); s++) {
        const weight = weights[row + base + s], value = run.at + s * headDim;
        let dot = 0;
        for (let d = 0; d < headDim; d++) {
          dot += dout.values[from + d] * run.values[value + d];
          dvalues[value + d] += weight * dout.values[from + d];
        }
        dweights[base + s] = dot;
        mean += weight * dot;
      }
      base += run.count;
    }
    base = 0;
    for (const [i, run] of runs.entries()) {
      const dkeys = gradients[i].keys;
      for (let s = 0; s < seen(run, t); s++) {
        const slope = weights[row + base + s] * (dweights[base + s] - mean) * scale;
        const key = run.at + s * headDim;
        for (let d = 0; d < headDim; d++) {
          dq.values[dquery + d] += slope * run.keys[key + d];
          dkeys[key + d] += slope * q.values[query + d];
        }
      }
      base += run.count;
    }
  }
}
