import { assert } from "../../lib/core/assert.ts";
import { listGroups } from "./kv_groups.ts";
import { pool } from "./kv_pages.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** A row a group and head: its consecutive source slots end to end. */
export function kvReadRows(o: Operands<"kvReadRows">): void {
  const pages = pool(o.pages), out = floats(o.out);
  const { kvHeads, headDim } = pages.shape;
  const count = o.out.cols / headDim, groups = listGroups(o);
  expectShape(o.out, groups.length * kvHeads, count * headDim);
  for (const [g, { job, first }] of groups.entries()) {
    assert(first + count <= job.slots, "a group lies in what is stored");
    for (let h = 0; h < kvHeads; h++) {
      for (let i = 0; i < count; i++) {
        const row = pages.read(job.source, first + i, o.part, h);
        out.set(row, (g * kvHeads + h) * count * headDim + i * headDim);
      }
    }
  }
}
