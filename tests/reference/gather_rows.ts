import { assert } from "../../lib/core/assert.ts";
import { expectShape, floats, type Operands, shares } from "./tensor.ts";

/** out[i] = x[rows[i]] */
export function gatherRows(o: Operands<"gatherRows">): void {
  const x = floats(o.x), out = floats(o.out), rows = o.rows.values;
  const dim = o.x.cols;
  assert(!shares(o.x, o.out), "rows are gathered into another tensor");
  expectShape(o.out, rows.length, dim);
  for (const [i, row] of rows.entries()) {
    assert(row < o.x.rows, `row ${row} is in x`);
    out.set(x.subarray(row * dim, (row + 1) * dim), i * dim);
  }
}
