import { testParity } from "../support/backends.ts";
import { ACTIVATIONS, Draw, pairs, ROWS, WIDTHS } from "../support/cases.ts";
import { testRowOperation } from "../support/row_operation.ts";

testParity("gated computes its formula", "reduce", pairs(ROWS, WIDTHS), async (scope, [rows, dim]) => {
  const x = new Draw(rows * dim).normal(rows * 2 * dim);
  return await scope.step((step) => {
    const out = step.tensor(rows, dim);
    step.gated({ x: step.upload(rows, 2 * dim, x), activation: "silu", out });
    return [out];
  });
});

testParity(
  "gated applies every activation without overflow",
  "reduce",
  pairs(ACTIVATIONS, [1, 8, 100, 1e4]),
  async (scope, [activation, scale]) => {
    const draw = new Draw(scale);
    const x = Float32Array.of(...draw.normal(64, scale), ...draw.normal(64));
    return await scope.step((step) => {
      const out = step.tensor(1, 64);
      step.gated({ x: step.upload(1, 128, x), activation, out });
      return [out];
    });
  },
);

testRowOperation({
  name: "gated",
  inCols: 2 * 68,
  outCols: 68,
  prepare: () => (step, x, out) => step.gated({ x, activation: "gelu_tanh", out }),
});
