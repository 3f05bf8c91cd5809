import { testParity } from "../support/backends.ts";
import { Draw, pairs, ROWS, WIDTHS } from "../support/cases.ts";
import { testRowOperation } from "../support/row_operation.ts";
import type { Scope } from "../support/scope.ts";

async function normed(scope: Scope, rows: number, dim: number, scale: number, mean: number) {
  const draw = new Draw(rows * dim);
  const weight = scope.tensor(1, dim, draw.normal(dim)), bias = scope.tensor(1, dim, draw.normal(dim));
  return await scope.step((step) => {
    const out = step.tensor(rows, dim);
    const x = step.upload(rows, dim, draw.normal(rows * dim, scale, mean));
    step.layerNorm({ x, weight, bias, eps: 1e-5, out });
    return [out];
  });
}

testParity(
  "layerNorm computes its formula",
  "reduce",
  pairs(ROWS, WIDTHS),
  (scope, [rows, dim]) => normed(scope, rows, dim, 1, 0.5),
);

testParity(
  "layerNorm holds for rows so small that eps decides, and for large ones",
  "reduce",
  [1e-6, 1e-3, 1e3, 1e6],
  (scope, scale) => normed(scope, 3, 68, scale, 0),
);

// E[x²] − E[x]² in f32 would lose the variance here altogether: 10⁶ · 6e-8 = 0.06 of 1. x − mean loses 1e-4 of 1.
testParity(
  "layerNorm takes the variance about the mean, far from zero",
  "f16",
  [588, 1024],
  (scope, dim) => normed(scope, 3, dim, 1, 1000),
);

testRowOperation({
  name: "layerNorm",
  inCols: 588,
  outCols: 588,
  prepare(scope) {
    const draw = new Draw(3);
    const weight = scope.tensor(1, 588, draw.normal(588)), bias = scope.tensor(1, 588, draw.normal(588));
    return (step, x, out) => step.layerNorm({ x, weight, bias, eps: 1e-6, out });
  },
});
