/** y = x · weight / sqrt(mean(x²) + eps), per row of `weight.length` values. */
export function rmsNorm(x: Float32Array, weight: Float32Array, eps: number): Float32Array {
  const dim = weight.length, y = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += dim) {
    const scale = inverseRms(x, at, dim, eps);
    for (let d = 0; d < dim; d++) y[at + d] = x[at + d] * scale * weight[d];
  }
  return y;
}

/** The gradient of x: r · (w·dy − x · r² · mean(w·dy·x)), r = 1 / sqrt(mean(x²) + eps). */
export function rmsNormGradient(
  x: Float32Array,
  weight: Float32Array,
  eps: number,
  dy: Float32Array,
): Float32Array {
  const dim = weight.length, dx = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += dim) {
    const scale = inverseRms(x, at, dim, eps);
    let dot = 0;
    for (let d = 0; d < dim; d++) dot += weight[d] * dy[at + d] * x[at + d];
    const back = dot * scale * scale / dim;
    for (let d = 0; d < dim; d++) dx[at + d] = scale * (weight[d] * dy[at + d] - x[at + d] * back);
  }
  return dx;
}

function inverseRms(x: Float32Array, at: number, dim: number, eps: number): number {
  let squares = 0;
  for (let d = 0; d < dim; d++) squares += x[at + d] * x[at + d];
  return 1 / Math.sqrt(squares / dim + eps);
}
