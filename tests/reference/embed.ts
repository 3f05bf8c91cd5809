import { assert } from "../../lib/core/assert.ts";
import { FEATURE_ROW } from "../../lib/ops/backend.ts";
import { weights } from "./matrix.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** out[t] = tokens[t] < 2^31 ? table[tokens[t]] : features[tokens[t] − 2^31] */
export function embed(o: Operands<"embed">): void {
  const dim = o.table.cols;
  const table = weights(o.table).values, out = floats(o.out);
  const tokens = o.tokens.values;
  expectShape(o.out, tokens.length, dim);
  for (const [t, token] of tokens.entries()) {
    if (token < FEATURE_ROW) {
      assert(token < o.table.rows, `token ${token} is in the vocabulary`);
      out.set(table.subarray(token * dim, (token + 1) * dim), t * dim);
    } else {
      assert(o.features !== null, "a feature token comes with features");
      const row = token - FEATURE_ROW;
      assert(row < o.features.rows && o.features.cols === dim, `feature row ${row} is in the store`);
      out.set(floats(o.features).subarray(row * dim, (row + 1) * dim), t * dim);
    }
  }
}
