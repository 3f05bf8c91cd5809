/** Small calculations that a device must get right before it is trusted with a model: one line each, for any backend. */

/** One line of the table that `doctor` prints. */
export interface SelfTestRow {
  readonly name: string;
  readonly passed: boolean;
  /** What was measured, or what went wrong. */
  readonly detail: string;
  /** False: the feature is turned off when it fails, and the program goes on. */
  readonly required: boolean;
}

/** Relative to the largest magnitude of what is expected; f32 sums this short are a hundred times better. */
const ERROR_MAX = 1e-5;

/** Runs one check, which says what it measured; one that throws has failed. */
export async function selfTestRow(
  name: string,
  required: boolean,
  check: () => Promise<string>,
): Promise<SelfTestRow> {
  try {
    return { name, passed: true, detail: await check(), required };
  } catch (error) {
    return { name, passed: false, detail: error instanceof Error ? error.message : String(error), required };
  }
}

/** Values of both signs and several magnitudes up to 3, the same on every machine. */
export function wave(length: number, seed: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => Math.sin(seed * 12.9 + i * 0.7) * (1 + i % 3));
}

/** Says the largest error, relative to the largest value expected. Throws when it is more than `errorMax`, or NaN. */
export function compareSelfTest(
  expected: ArrayLike<number>,
  bytes: ArrayBuffer,
  errorMax = ERROR_MAX,
): string {
  const found = new Float32Array(bytes);
  let scale = 0, largest = 0;
  for (let i = 0; i < expected.length; i++) scale = Math.max(scale, Math.abs(expected[i]));
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(expected[i] - found[i]) / scale;
    // Not Math.max: a NaN must count as the worst, and stay.
    if (!(error <= largest)) largest = error;
    if (Number.isNaN(largest)) break;
  }
  if (!(largest <= errorMax)) {
    throw new Error(`largest error ${largest.toExponential(1)}, allowed ${errorMax}`);
  }
  return `largest error ${largest.toExponential(1)}`;
}
