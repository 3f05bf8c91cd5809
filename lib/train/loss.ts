/** The two losses of a student that should answer as its teacher does. Each is a sum over rows, weighted by row. */

export interface Loss {
  readonly value: number;
  readonly gradient: Float32Array;
}

/** Kullback-Leibler divergence of the teacher's distribution from the student's, and how many rows agree on the best token. */
export function divergence(
  student: Float32Array,
  teacher: Float32Array,
  vocab: number,
  weights: Float32Array,
): Loss & { readonly agreed: number } {
  const gradient = new Float32Array(student.length);
  let value = 0, agreed = 0;
  for (const [row, weight] of weights.entries()) {
    const at = row * vocab;
    const s = softmax(student, at, vocab), t = softmax(teacher, at, vocab);
    if (s.best === t.best) agreed++;
    let sum = 0;
    for (let i = 0; i < vocab; i++) {
      const p = Math.exp(teacher[at + i] - t.logSum);
      const difference = teacher[at + i] - t.logSum - (student[at + i] - s.logSum);
      sum += p * difference;
      gradient[at + i] = weight * (Math.exp(student[at + i] - s.logSum) - p);
    }
    value += weight * sum;
  }
  return { value, gradient, agreed };
}

/** log Σ exp of a row, and its largest entry (ties to the lower index). */
function softmax(x: Float32Array, at: number, length: number): { logSum: number; best: number } {
  let best = 0;
  for (let i = 1; i < length; i++) if (x[at + i] > x[at + best]) best = i;
  let sum = 0;
  for (let i = 0; i < length; i++) sum += Math.exp(x[at + i] - x[at + best]);
  return { logSum: x[at + best] + Math.log(sum), best };
}

/** Squared distance of hidden states, relative to the teacher's squared length. */
export function distance(
  student: Float32Array,
  teacher: Float32Array,
  dim: number,
  weights: Float32Array,
): Loss {
  const gradient = new Float32Array(student.length);
  let value = 0;
  for (const [row, weight] of weights.entries()) {
    let squares = 0, errors = 0;
    for (let at = row * dim; at < (row + 1) * dim; at++) {
      squares += teacher[at] ** 2;
      errors += (student[at] - teacher[at]) ** 2;
    }
    value += weight * errors / squares;
    for (let at = row * dim; at < (row + 1) * dim; at++) {
      gradient[at] = 2 * weight * (student[at] - teacher[at]) / squares;
    }
  }
  return { value, gradient };
}
