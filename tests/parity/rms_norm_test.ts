import { testParity } from "../support/backends.ts";
import { Draw, pairs, ROWS, WIDTHS } from "../support/cases.ts";
import { testRowOperation } from "../support/row_operation.ts";
import type { Scope } from "../support/scope.ts";

async function normed(scope: Scope, rows: number, dim: number, scale: number, eps: number) {
  const draw = new Draw(rows * dim);
  const weight = scope.tensor(1, dim, draw.normal(dim));
  return await scope.step((step) => {
    const out = step.tensor(rows, dim);
    step.rmsNorm({ x: step.upload(rows, dim, draw.normal(rows * dim, scale)), weight, eps, out });
    return [out];
  });
}

testParity(
  "rmsNorm computes its formula",
  "reduce",
  pairs(ROWS, WIDTHS),
  (scope, [rows, dim]) => normed(scope, rows, dim, 1, 1e-6),
);

testParity(
  "rmsNorm holds for rows so small that eps decides, and for large ones",
  "reduce",
  [1e-6, 1e-3, 1e3, 1e6],
  (scope, scale) => normed(scope, 3, 68, scale, 1e-5),
);

testRowOperation({
  name: "rmsNorm",
  inCols: 588,
  outCols: 588,
  prepare(scope) {
    const weight = scope.tensor(1, 588, new Draw(2).normal(588));
    return (step, x, out) => step.rmsNorm({ x, weight, eps: 1e-6, out });
  },
});
