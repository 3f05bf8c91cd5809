/**
 * Every generated kernel computes something small at start, and is compared with the same formula in plain f64: an
 * engine that compiles one of them wrongly is found before it answers anybody. Runs through the operation contract on
 * all threads. Only `fetch`, which computes nothing, is left out. Weights are whole multiples of a power of two that every format holds exactly, so one expectation serves all.
 */
import { StartError } from "../core/errors.ts";
import type { Activation, Backend } from "../ops/backend.ts";
import { compareSelfTest, type SelfTestRow, selfTestRow, wave } from "../ops/self_test.ts";
import type { KvDtype } from "../ops/kv.ts";
import type { MatrixDtype } from "../ops/tensor.ts";
import { ACTIVATIONS } from "./activation.ts";
import type { ProductFamily } from "./backend.ts";
import { FORMATS } from "./matmul.ts";
import { PANEL } from "./panel.ts";
import { GROUP, type QuantisedFormat } from "./quantised.ts";
import { checkPagedAttention, checkSegmentAttention } from "./self_test_attention.ts";
import { checkCompression } from "./self_test_compression.ts";
import { checkFold } from "./self_test_fold.ts";
import { activated, normed } from "./self_test_formula.ts";
import { checkScores } from "./self_test_scores.ts";
import { filledMatrix, runStep } from "./self_test_step.ts";
import { TILE_ROWS } from "./tile.ts";
import { isQuantised, type StorageFormat } from "./weights.ts";

/** Which kernels are examined. Those of a model need compiling anyway; examining more costs start-up time. */
export interface KernelUse {
  readonly formats: readonly StorageFormat[];
  /** Families of the quantised formats. */
  readonly families: readonly ProductFamily[];
  readonly activations: readonly Activation[];
  readonly caches: readonly { readonly dtype: KvDtype; readonly headDim: number }[];
  /** Head dims of segment attention. */
  readonly segments: readonly number[];
  /** Whether kv_fold runs, with every cache; absent: it does not. */
  readonly folds?: boolean;
}

/** One of each kind. Heads of five vectors: passes over channels end in a part, and rotated pairs in two scalars. */
export const EVERY_KERNEL: KernelUse = {
  formats: FORMATS,
  families: ["exact", "dot"],
  activations: ACTIVATIONS,
  caches: [{ dtype: "f16", headDim: 20 }, { dtype: "f32", headDim: 20 }],
  segments: [20],
  folds: true,
};

/** What the self-test needs of a backend. */
export interface Examinee {
  readonly backend: Backend;
  readonly threads: number;
  /** Decides how matrices that may be quantised are stored and multiplied from now on. */
  store(quantise: QuantisedFormat | "stored", family: ProductFamily): void;
}

/** A whole unrolled step, a tail of four, and a part of a group. */
const DEPTH = GROUP + 12;

/** Runs the checks of these kernels, and of both norms. A check that throws has failed. */
export async function runSelfTest(
  { backend, threads, store }: Examinee,
  use: KernelUse,
): Promise<readonly SelfTestRow[]> {
  const rows: SelfTestRow[] = [];
  const check = async (name: string, run: () => Promise<string>) =>
    void rows.push(await selfTestRow(name, true, run));
  // Four panels at a time and one by one in every thread, and a part of a panel.
  const outputs = PANEL * (4 * threads + 1) + 3;
  for (const format of use.formats) {
    const expected = product(outputs, format === "int4" ? 7 : 127);
    if (!isQuantised(format)) {
      await check(`matmul ${format}`, () => checkMatmul(backend, format, expected, false));
      continue;
    }
    for (const family of use.families) {
      store(format, family);
      await check(`matmul ${format} ${family}`, () => checkMatmul(backend, "f32", expected, true));
      store("stored", "exact");
    }
  }
  for (const kind of use.activations) {
    await check(`bias, ${kind}, residual`, () => checkEpilogue(backend, threads, kind));
    await check(`gated ${kind}`, () => checkGated(backend, kind));
  }
  await check("rms_norm", () => checkNorm(backend, threads, "rms"));
  await check("layer_norm", () => checkNorm(backend, threads, "layer"));
  for (const { dtype, headDim } of use.caches) {
    await check(`rope and attention ${dtype}`, () => checkPagedAttention(backend, dtype, headDim));
    // Packed heads are multiples of 8.
    await check(`compression ${dtype}`, () => checkCompression(backend, dtype, 8 * Math.ceil(headDim / 8)));
    await check(`scores ${dtype}`, () => checkScores(backend, dtype, headDim));
    if (use.folds) await check(`fold ${dtype}`, () => checkFold(backend, dtype, headDim));
  }
  for (const headDim of use.segments) {
    await check(`segment attention of ${headDim}`, () => checkSegmentAttention(backend, headDim));
  }
  return rows;
}

/** Throws StartError naming the first kernel that calculates wrongly. */
export function requirePassed(rows: readonly SelfTestRow[]): void {
  const wrong = rows.find((row) => row.required && !row.passed);
  if (wrong !== undefined) {
    throw new StartError(
      `WebAssembly calculates wrongly on this machine: ${wrong.name}: ${wrong.detail}. ` +
        "Update Deno, or start with --backend webgpu",
    );
  }
}

/**
 * Whether multiply-adds are fused (one rounding): (1 + 2^−12)² − 1 is 2^−11 + 2^−24 then, and 2^−11 when the product is
 * rounded first. Speed and the last bits depend on it.
 */
export async function probeFused(backend: Backend): Promise<boolean> {
  const factor = 1 + 2 ** -12;
  const matrix = filledMatrix(backend, "f32", 1, 4, Float32Array.of(1, factor, 0, 0), false);
  try {
    const [bytes] = await runStep(backend, (step) => {
      const out = step.tensor(1, 1);
      step.matmul({ x: step.upload(1, 4, Float32Array.of(-1, factor, 0, 0)), weight: matrix, out });
      return [out];
    });
    return new Float32Array(bytes)[0] === 2 ** -11 + 2 ** -24;
  } finally {
    backend.destroyMatrix(matrix);
  }
}

/** x [rows, DEPTH] · weightᵀ [outputs, DEPTH], with the sums in f64. */
interface Product {
  readonly outputs: number;
  readonly x: Float32Array;
  readonly weight: Float32Array;
  readonly sums: Float64Array;
}

/** One row more than a tile, so that two tiles meet. */
const ROWS = TILE_ROWS + 1;

/** Weights q / (largest + 1), |q| ≤ largest, and rows r / 2^15, |r| < 2^15; every group of both has a largest one. */
function product(outputs: number, largest: number): Product {
  const whole = (count: number, limit: number, step: number) =>
    Float32Array.from(
      { length: count },
      (_, i) => (i % DEPTH % GROUP === 0 ? limit : i * step % (2 * limit + 1) - limit) / (limit + 1),
    );
  const x = whole(ROWS * DEPTH, 32767, 7919), weight = whole(outputs * DEPTH, largest, 31);
  const sums = new Float64Array(ROWS * outputs);
  for (let i = 0; i < sums.length; i++) {
    const row = Math.floor(i / outputs) * DEPTH, column = i % outputs * DEPTH;
    for (let k = 0; k < DEPTH; k++) sums[i] += x[row + k] * weight[column + k];
  }
  return { outputs, x, weight, sums };
}

/** Every number of rows up to one more than a tile. */
async function checkMatmul(
  backend: Backend,
  dtype: MatrixDtype,
  { outputs, x, weight, sums }: Product,
  quantise: boolean,
): Promise<string> {
  const matrix = filledMatrix(backend, dtype, outputs, DEPTH, weight, quantise);
  try {
    const results = await runStep(backend, (step) =>
      Array.from({ length: ROWS }, (_, i) => {
        const rows = i + 1, out = step.tensor(rows, outputs);
        step.matmul({ x: step.upload(rows, DEPTH, x.subarray(0, rows * DEPTH)), weight: matrix, out });
        return out;
      }));
    return results.map((bytes) => compareSelfTest(sums.subarray(0, bytes.byteLength / 4), bytes)).at(-1)!;
  } finally {
    backend.destroyMatrix(matrix);
  }
}

/** With and without residual, one row, two rows and three: as many panels at a time as each takes. */
async function checkEpilogue(backend: Backend, threads: number, kind: Activation): Promise<string> {
  const outputs = PANEL * (4 * threads + 1) + 3, depth = 4, rows = 3;
  const x = wave(rows * depth, 1), weight = wave(outputs * depth, 2).map((w) => w / 4);
  const bias = wave(outputs, 3), residual = wave(rows * outputs, 4);
  const matrix = filledMatrix(backend, "f32", outputs, depth, weight, false);
  const biasTensor = backend.createTensor(1, outputs, bias);
  const expected = (added: number) =>
    residual.map((value, i) => {
      let sum = bias[i % outputs];
      for (let k = 0; k < depth; k++) {
        sum += x[Math.floor(i / outputs) * depth + k] * weight[i % outputs * depth + k];
      }
      return added * value + activated(kind, sum);
    });
  const plain = expected(0), added = expected(1);
  try {
    const results = await runStep(
      backend,
      (step) =>
        [1, 2, 3].flatMap((count) =>
          [null, step.upload(count, outputs, residual.subarray(0, count * outputs))].map((from) => {
            const out = step.tensor(count, outputs);
            const rowsOfX = step.upload(count, depth, x.subarray(0, count * depth));
            step.matmul({
              x: rowsOfX,
              weight: matrix,
              bias: biasTensor,
              activation: kind,
              residual: from,
              out,
            });
            return out;
          })
        ),
    );
    return results.map((bytes, i) =>
      compareSelfTest((i % 2 === 0 ? plain : added).subarray(0, bytes.byteLength / 4), bytes)
    )
      .at(-1)!;
  } finally {
    backend.destroyMatrix(matrix);
    backend.destroyTensor(biasTensor);
  }
}

async function checkGated(backend: Backend, kind: Activation): Promise<string> {
  const rows = 5, inner = 12;
  const x = wave(rows * 2 * inner, 5);
  const expected = Array.from({ length: rows * inner }, (_, i) => {
    const gate = Math.floor(i / inner) * 2 * inner + i % inner;
    return activated(kind, x[gate]) * x[gate + inner];
  });
  const [bytes] = await runStep(backend, (step) => {
    const out = step.tensor(rows, inner);
    step.gated({ x: step.upload(rows, 2 * inner, x), activation: kind, out });
    return [out];
  });
  return compareSelfTest(expected, bytes);
}

/** A row of four sums with a tail. */
async function checkNorm(backend: Backend, threads: number, kind: "rms" | "layer"): Promise<string> {
  const rows = threads + 1, dim = 76, eps = 1e-5;
  const x = wave(rows * dim, 6), weight = wave(dim, 7), bias = wave(dim, 8);
  const [bytes] = await runStep(backend, (step) => {
    const o = {
      x: step.upload(rows, dim, x),
      weight: step.upload(1, dim, weight),
      eps,
      out: step.tensor(rows, dim),
    };
    if (kind === "rms") step.rmsNorm(o);
    else step.layerNorm({ ...o, bias: step.upload(1, dim, bias) });
    return [o.out];
  });
  return compareSelfTest(normed(kind, { x, dim, weight, bias, eps }), bytes);
}
