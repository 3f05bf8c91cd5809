/** How fast a backend multiplies, measured in a tenth of a second or so: for `doctor`, not for the benchmark log. */
import { type Clock, systemClock } from "../core/clock.ts";
import type { Backend } from "../ops/backend.ts";
import type { MatrixDtype } from "../ops/tensor.ts";

export interface Rates {
  /** 64 rows by an f32 and an f16 matrix, in 10⁹ floating-point operations a second (two a multiply-add). */
  readonly matmulF32: number;
  readonly matmulF16: number;
  /** One row by an f16 matrix, in 10⁹ weights a second. */
  readonly gemvF16: number;
}

const DEPTH = 512, OUTPUTS = 512;
/** Weights [1024, 1024]: as much as a layer of a small model has, too much for a first-level cache. */
const GEMV_SIDE = 1024;
/** Time for one rate: the median of the steps that fit, and at least three. */
const RATE_MS = 50;

export async function measureRates(backend: Backend, clock: Clock = systemClock): Promise<Rates> {
  const matmul = async (dtype: MatrixDtype) =>
    2 *
    await productsPerSecond(backend, clock, { rows: 64, depth: DEPTH, outputs: OUTPUTS, dtype, calls: 4 });
  return {
    matmulF32: await matmul("f32") / 1e9,
    matmulF16: await matmul("f16") / 1e9,
    gemvF16: await productsPerSecond(backend, clock, {
      rows: 1,
      depth: GEMV_SIDE,
      outputs: GEMV_SIDE,
      dtype: "f16",
      calls: 16,
    }) / 1e9,
  };
}

interface Load {
  readonly rows: number;
  readonly depth: number;
  readonly outputs: number;
  readonly dtype: MatrixDtype;
  /** Products of one step, so that submitting it does not show. */
  readonly calls: number;
}

/** Multiply-adds a second. */
async function productsPerSecond(
  backend: Backend,
  clock: Clock,
  { rows, depth, outputs, dtype, calls }: Load,
): Promise<number> {
  const matrix = backend.createMatrix(outputs, depth, dtype);
  // Neither zeros nor subnormals: those run at other speeds. 0x3c00 is 1 as f16, and 0x3c003c00 about 1/128 as f32.
  const bytes = new Uint8Array(
    new Uint16Array(outputs * depth * (dtype === "f32" ? 2 : 1)).fill(0x3c00).buffer,
  );
  const x = backend.createTensor(rows, depth, new Float32Array(rows * depth).fill(1));
  try {
    backend.writeMatrix(matrix, 0, bytes);
    const run = async () => {
      const begun = clock.now();
      const step = backend.begin();
      const out = step.tensor(rows, outputs);
      for (let call = 0; call < calls; call++) step.matmul({ x, weight: matrix, out });
      await step.finish([out]);
      return clock.now() - begun;
    };
    // The first runs compile.
    await run();
    await run();
    const times: number[] = [], end = clock.now() + RATE_MS;
    while (times.length < 3 || clock.now() < end) times.push(await run());
    const median = times.sort((a, b) => a - b)[times.length >> 1];
    return rows * depth * outputs * calls / (median / 1000);
  } finally {
    backend.destroyTensor(x);
    backend.destroyMatrix(matrix);
  }
}
