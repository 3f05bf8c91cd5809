/** How a result is compared with the oracle's: NaN first, then the error against the size of what was expected. */
import assert from "node:assert/strict";

export type Numbers = Float32Array | Uint32Array;

/**
 * exact: copies, choices and single roundings. reduce: f32 sums and elementary functions against f64.
 * f16: values that were rounded to f16 on the way, where an f32 error may tip one to its neighbour.
 */
export type Tolerance = "exact" | "reduce" | "f16";

/** NMSE = Σ(a − b)² / Σb²; `maxAbs` is relative to the largest |b|. */
const BOUNDS: Record<Tolerance, { readonly nmse: number; readonly maxAbs: number }> = {
  exact: { nmse: 0, maxAbs: 0 },
  // An f32 chain of a thousand terms is off by about 1e-6 of the terms' size: NMSE 1e-12, more where terms cancel.
  reduce: { nmse: 1e-10, maxAbs: 1e-4 },
  // Half a unit of f16 is 2^-11, 4.9e-4: squared 2.4e-7 if all values tipped.
  f16: { nmse: 2.4e-7, maxAbs: 2e-3 },
};

/** Throws unless `actual` is as near to `expected` as the tolerance says. A NaN or infinity is never near. */
export function assertClose(actual: Numbers, expected: Numbers, tolerance: Tolerance, label: string): void {
  assert.equal(actual.length, expected.length, `${label}: number of values`);
  let squares = 0, errors = 0, largest = 0, worst = 0, worstAt = 0;
  for (let i = 0; i < expected.length; i++) {
    assert.ok(Number.isFinite(expected[i]), `${label}: the oracle's value ${i} is ${expected[i]}`);
    assert.ok(Number.isFinite(actual[i]), `${label}: value ${i} is ${actual[i]}, not ${expected[i]}`);
    const error = Math.abs(actual[i] - expected[i]);
    if (error > worst) [worst, worstAt] = [error, i];
    largest = Math.max(largest, Math.abs(expected[i]));
    squares += expected[i] ** 2;
    errors += error ** 2;
  }
  if (errors === 0) return;
  const { nmse, maxAbs } = BOUNDS[tolerance];
  const found = errors / squares;
  assert.ok(
    found <= nmse && worst <= maxAbs * largest,
    `${label}: NMSE ${found.toExponential(2)} (at most ${nmse}), ` +
      `largest error ${worst.toExponential(2)} at ${worstAt}: ${actual[worstAt]}, not ${expected[worstAt]}`,
  );
}

/** Σ(a − b)² / Σb², or NaN. */
export function nmse(actual: Numbers, expected: Numbers): number {
  let errors = 0, squares = 0;
  for (let i = 0; i < expected.length; i++) {
    errors += (actual[i] - expected[i]) ** 2;
    squares += expected[i] ** 2;
  }
  return errors / squares;
}

/** Throws unless both hold the same bits. */
export function assertSameBits(actual: Numbers, expected: Numbers, label: string): void {
  assert.equal(actual.length, expected.length, `${label}: number of values`);
  const a = bits(actual), b = bits(expected);
  const at = a.findIndex((word, i) => word !== b[i]);
  assert.equal(at, -1, `${label}: value ${at} is ${actual[at]}, not ${expected[at]}`);
}

/** Row `index` of a row-major array. */
export function row<T extends Numbers>(values: T, cols: number, index: number): T {
  return values.subarray(index * cols, (index + 1) * cols) as T;
}

function bits(values: Numbers): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}
