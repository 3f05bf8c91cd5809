/** A linear layer, y = x·Wᵀ + b, and its gradients. Four rows at a time, so that each number read is used four times. */

/** y[m, n] = b[n] + Σ_k x[m, k] · w[n, k]. x [rows, inputs], w [outputs, inputs], y [rows, outputs]. */
export function linear(x: Float32Array, w: Float32Array, b: Float32Array, rows: number): Float32Array {
  const outputs = b.length, inputs = w.length / outputs;
  const y = new Float32Array(rows * outputs);
  for (let m = 0; m < rows; m++) {
    const at = m * inputs;
    let n = 0;
    for (; n + 4 <= outputs; n += 4) {
      let a0 = b[n], a1 = b[n + 1], a2 = b[n + 2], a3 = b[n + 3];
      let w0 = n * inputs, w1 = w0 + inputs, w2 = w1 + inputs, w3 = w2 + inputs;
      for (let k = at; k < at + inputs; k++) {
        const v = x[k];
        a0 += v * w[w0++];
        a1 += v * w[w1++];
        a2 += v * w[w2++];
        a3 += v * w[w3++];
      }
      const to = m * outputs + n;
      y[to] = a0;
      y[to + 1] = a1;
      y[to + 2] = a2;
      y[to + 3] = a3;
    }
    for (; n < outputs; n++) {
      let sum = b[n];
      for (let k = 0; k < inputs; k++) sum += x[at + k] * w[n * inputs + k];
      y[m * outputs + n] = sum;
    }
  }
  return y;
}

/** dx[m, k] = Σ_n dy[m, n] · w[n, k]. */
export function linearInputGradient(
  dy: Float32Array,
  w: Float32Array,
  rows: number,
  outputs: number,
): Float32Array {
  const inputs = w.length / outputs;
  const dx = new Float32Array(rows * inputs);
  for (let m = 0; m < rows; m++) {
    addRows(dx, m * inputs, w, inputs, dy, m * outputs, 1, outputs);
  }
  return dx;
}

/** dw[n, k] += Σ_m dy[m, n] · x[m, k]; db[n] += Σ_m dy[m, n]. */
export function addLinearGradients(
  dy: Float32Array,
  x: Float32Array,
  rows: number,
  dw: Float32Array,
  db: Float32Array,
): void {
  const outputs = db.length, inputs = dw.length / outputs;
  for (let n = 0; n < outputs; n++) {
    for (let m = 0; m < rows; m++) db[n] += dy[m * outputs + n];
    addRows(dw, n * inputs, x, inputs, dy, n, outputs, rows);
  }
}

/** out[at + k] += Σ_i factors[first + i · stride] · from[i · width + k], for i < count and k < width. */
function addRows(
  out: Float32Array,
  at: number,
  from: Float32Array,
  width: number,
  factors: Float32Array,
  first: number,
  stride: number,
  count: number,
): void {
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const f0 = factors[first + i * stride], f1 = factors[first + (i + 1) * stride];
    const f2 = factors[first + (i + 2) * stride], f3 = factors[first + (i + 3) * stride];
    // Behind a ReLU many gradients are zero.
    if (f0 === 0 && f1 === 0 && f2 === 0 && f3 === 0) continue;
    let r0 = i * width, r1 = r0 + width, r2 = r1 + width, r3 = r2 + width;
    for (let k = at; k < at + width; k++) {
      out[k] += f0 * from[r0++] + f1 * from[r1++] + f2 * from[r2++] + f3 * from[r3++];
    }
  }
  for (; i < count; i++) {
    const f = factors[first + i * stride];
    for (let k = 0; k < width; k++) out[at + k] += f * from[i * width + k];
  }
}
