import type { Activation } from "../../lib/ops/backend.ts";
import type { MatrixDtype } from "../../lib/ops/tensor.ts";
import { testEach, testParity } from "../support/backends.ts";
import { ACTIVATIONS, Draw, MATRIX_DTYPES, pairs, ROWS } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { testRowOperation } from "../support/row_operation.ts";
import type { Scope } from "../support/scope.ts";

interface Shape {
  readonly rows: number;
  readonly depth: number;
  readonly cols: number;
  readonly dtype?: MatrixDtype;
  readonly activation?: Activation;
  readonly bias?: boolean;
  readonly residual?: "none" | "apart" | "out";
  /** Standard deviation of x. */
  readonly scale?: number;
}

async function product(scope: Scope, shape: Shape) {
  const { rows, depth, cols, dtype = "f32", activation, bias = false, residual = "none", scale = 1 } = shape;
  const draw = new Draw(rows + 100 * depth + 100_000 * cols);
  const weight = scope.matrix(cols, depth, dtype, draw.normal(cols * depth, 1 / Math.sqrt(depth)));
  const biasRow = bias ? scope.tensor(1, cols, draw.normal(cols)) : null;
  const x = draw.normal(rows * depth, scale), added = draw.normal(rows * cols);
  return await scope.step((step) => {
    const out = residual === "out" ? step.upload(rows, cols, added) : step.tensor(rows, cols);
    const other = residual === "apart" ? step.upload(rows, cols, added) : null;
    step.matmul({
      x: step.upload(rows, depth, x),
      weight,
      bias: biasRow,
      activation,
      residual: residual === "out" ? out : other,
      out,
    });
    return [out];
  });
}

testParity(
  "matmul computes its formula for every row count and odd widths",
  "reduce",
  pairs(ROWS, [[4, 1], [12, 7], [588, 20], [64, 65], [260, 130]] as const)
    .map(([rows, [depth, cols]]) => ({ rows, depth, cols })),
  product,
);

testParity(
  "matmul widens every stored dtype",
  "reduce",
  pairs(MATRIX_DTYPES, [1, 4, 17]).flatMap(([dtype, rows]) =>
    [[4, 3], [12, 9], [588, 33]].map(([depth, cols]) => ({ rows, depth, cols, dtype }))
  ),
  product,
);

testParity(
  "matmul applies bias, activation and residual in this order, also in place",
  "reduce",
  [
    ...pairs(ACTIVATIONS, ["out"] as const),
    ...pairs(["none", "silu"] as const, ["none", "apart"] as const),
  ].flatMap(([activation, residual]) =>
    [1, 9].map((rows) => ({ rows, depth: 20, cols: 11, activation, bias: true, residual }))
  ),
  product,
);

testParity(
  "matmul applies every activation without overflow",
  "reduce",
  pairs(ACTIVATIONS, [100, 1e4]).map(([activation, scale]) => ({
    rows: 2,
    depth: 12,
    cols: 40,
    activation,
    scale,
  })),
  product,
);

testParity(
  "matmul holds for a vocabulary's worth of outputs",
  "reduce",
  [1, 5],
  (scope, rows) => product(scope, { rows, depth: 64, cols: 4099, dtype: "f16" }),
);

for (const dtype of MATRIX_DTYPES) {
  testRowOperation({
    name: `matmul of ${dtype}`,
    inCols: 140,
    outCols: 37,
    prepare(scope) {
      const draw = new Draw(5);
      const weight = scope.matrix(37, 140, dtype, draw.normal(37 * 140));
      const bias = scope.tensor(1, 37, draw.normal(37));
      return (step, x, out) => step.matmul({ x, weight, bias, activation: "silu", out });
    },
  });
}

testEach("matmul of a prompt has the same bits in one piece and in pieces of any size", async (scope) => {
  const rows = 70, depth = 64, cols = 24;
  const draw = new Draw(6);
  const weight = scope.matrix(cols, depth, "f16", draw.normal(cols * depth));
  const x = draw.normal(rows * depth);
  const run = async (first: number, count: number) => {
    const [out] = await scope.step((step) => {
      const out = step.tensor(count, cols);
      step.matmul({
        x: step.upload(count, depth, x.subarray(first * depth, (first + count) * depth)),
        weight,
        out,
      });
      return [out];
    });
    return out;
  };
  const whole = await run(0, rows);
  for (const size of [1, 3, 16, 32, 64]) {
    for (let first = 0; first < rows; first += size) {
      const count = Math.min(size, rows - first);
      assertSameBits(
        await run(first, count),
        whole.subarray(first * cols, (first + count) * cols),
        `rows ${first} to ${first + count}`,
      );
    }
  }
});
