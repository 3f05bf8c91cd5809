import { assert } from "../../lib/core/assert.ts";
import { attend } from "./attention.ts";
import { mappedSequences, pool } from "./kv_pages.ts";
import { kvHeadOf, qkvHeads } from "./qkv.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Each token attends to the slots of its sequence up to its own. */
export function pagedAttention(o: Operands<"pagedAttention">): void {
  const { heads, kvHeads, headDim } = o.shape;
  const qkv = qkvHeads(o.qkv, o.shape), pages = pool(o.pages), out = floats(o.out);
  assert(
    pages.shape.kvHeads === kvHeads && pages.shape.headDim === headDim,
    "the pool has the model's heads",
  );
  expectShape(o.out, o.map.tokens, heads * headDim);
  for (const { first, end, slotBase, table } of mappedSequences(o.map, o.layer)) {
    for (let t = first; t < end; t++) {
      for (let h = 0; h < heads; h++) {
        const at = (t * heads + h) * headDim, kvHead = kvHeadOf(h, o.shape);
        attend(
          qkv.query(t, h),
          o.scale,
          slotBase + t - first + 1,
          (slot) => pages.read(table, slot, "key", kvHead),
          (slot) => pages.read(table, slot, "value", kvHead),
          out.subarray(at, at + headDim),
        );
      }
    }
  }
}
