import { assert } from "../../lib/core/assert.ts";
import { expectShape, floats, type Operands, shares } from "./tensor.ts";

/** out[rows[i]] = x[i]; other rows of out stay. */
export function scatterRows(o: Operands<"scatterRows">): void {
  const x = floats(o.x), out = floats(o.out), rows = o.rows.values;
  const dim = o.out.cols;
  assert(!shares(o.x, o.out), "rows are scattered into another tensor");
  assert(new Set(rows).size === rows.length, "target rows are distinct");
  expectShape(o.x, rows.length, dim);
  for (const [i, row] of rows.entries()) {
    assert(row < o.out.rows, `row ${row} is in out`);
    out.set(x.subarray(i * dim, (i + 1) * dim), row * dim);
  }
}
