import { assert } from "../../lib/core/assert.ts";
import { attend } from "./attention.ts";
import { kvHeadOf, qkvHeads } from "./qkv.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Each row attends to all rows of its segment. */
export function segmentAttention(o: Operands<"segmentAttention">): void {
  const { heads, headDim } = o.shape;
  const qkv = qkvHeads(o.qkv, o.shape), out = floats(o.out), bounds = o.segments.values;
  assert(bounds[0] === 0 && bounds[bounds.length - 1] === o.qkv.rows, "the segments cover all rows");
  expectShape(o.out, o.qkv.rows, heads * headDim);
  for (let s = 0; s + 1 < bounds.length; s++) {
    const first = bounds[s], end = bounds[s + 1];
    assert(first < end, "bounds ascend");
    for (let t = first; t < end; t++) {
      for (let h = 0; h < heads; h++) {
        const at = (t * heads + h) * headDim, kvHead = kvHeadOf(h, o.shape);
        attend(
          qkv.query(t, h),
          o.scale,
          end - first,
          (j) => qkv.key(first + j, kvHead),
          (j) => qkv.value(first + j, kvHead),
          out.subarray(at, at + headDim),
        );
      }
    }
  }
}
