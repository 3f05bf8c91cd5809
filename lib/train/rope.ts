/** Rotates pairs (i, i + headDim/2) of `heads` heads of each row of `x` by the row's angles, in place. */
export function rotate(
  x: Float32Array,
  rowLength: number,
  heads: number,
  rotary: Float32Array,
  headDim: number,
  /** −1 turns back, which is also the gradient's way. */
  direction: 1 | -1,
): void {
  const half = headDim / 2, rows = x.length / rowLength;
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      const at = row * rowLength + head * headDim;
      for (let i = 0; i < half; i++) {
        const cos = rotary[row * headDim + i], sin = direction * rotary[row * headDim + half + i];
        const a = x[at + i], b = x[at + half + i];
        x[at + i] = a * cos - b * sin;
        x[at + half + i] = b * cos + a * sin;
      }
    }
  }
}
