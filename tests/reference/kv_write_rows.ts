import { assert } from "../../lib/core/assert.ts";
import { listGroups } from "./kv_groups.ts";
import { pool } from "./kv_pages.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** A row of `x` a group and head: its target slot. */
export function kvWriteRows(o: Operands<"kvWriteRows">): void {
  const pages = pool(o.pages), x = floats(o.x);
  const { kvHeads, headDim } = pages.shape;
  const groups = listGroups(o);
  expectShape(o.x, groups.length * kvHeads, headDim);
  for (const [g, { job, target }] of groups.entries()) {
    assert(target < job.kept, "a group is written to a slot that is kept");
    for (let h = 0; h < kvHeads; h++) {
      const at = (g * kvHeads + h) * headDim;
      pages.write(job.target, target, o.part, h, x.subarray(at, at + headDim));
    }
  }
}
