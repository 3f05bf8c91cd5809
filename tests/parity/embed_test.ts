import { FEATURE_ROW } from "../../lib/ops/backend.ts";
import { testParity } from "../support/backends.ts";
import { Draw, MATRIX_DTYPES, pairs } from "../support/cases.ts";

const VOCAB = 37, FEATURES = 11;

testParity(
  "embed copies table rows and feature rows, whatever the table's dtype",
  "exact",
  pairs(MATRIX_DTYPES, [4, 12, 68, 588]),
  async (scope, [dtype, dim]) => {
    const draw = new Draw(dim);
    const table = scope.matrix(VOCAB, dim, dtype, draw.normal(VOCAB * dim));
    const features = scope.tensor(FEATURES, dim, draw.normal(FEATURES * dim));
    const tokens = Uint32Array.of(
      0,
      FEATURE_ROW,
      VOCAB - 1,
      FEATURE_ROW + FEATURES - 1,
      5,
      5,
      FEATURE_ROW + 3,
    );
    return await scope.step((step) => {
      const out = step.tensor(tokens.length, dim);
      step.embed({ table, features, tokens: step.indices(tokens), out });
      return [out];
    });
  },
);

testParity(
  "embed without features takes any number of tokens",
  "exact",
  [1, 2, 33, 257],
  async (scope, count) => {
    const draw = new Draw(count);
    const table = scope.matrix(VOCAB, 20, "f16", draw.normal(VOCAB * 20));
    return await scope.step((step) => {
      const out = step.tensor(count, 20);
      step.embed({ table, features: null, tokens: step.indices(draw.integers(count, VOCAB)), out });
      return [out];
    });
  },
);
