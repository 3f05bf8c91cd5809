import { assert } from "../../lib/core/assert.ts";
import { mappedSequences, pool } from "./kv_pages.ts";
import { qkvHeads } from "./qkv.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Rotates the query and key heads of qkv in place, then stores each token's key and value in its slot. */
export function ropeWriteKv(o: Operands<"ropeWriteKv">): void {
  const { heads, kvHeads, headDim } = o.shape;
  const qkv = qkvHeads(o.qkv, o.shape), pages = pool(o.pages), rotary = floats(o.rotary);
  assert(
    pages.shape.kvHeads === kvHeads && pages.shape.headDim === headDim,
    "the pool has the model's heads",
  );
  assert(o.qkv.rows === o.map.tokens, "the map has the rows of qkv");
  expectShape(o.rotary, o.map.tokens, headDim);
  for (const { first, end, slotBase, table } of mappedSequences(o.map, o.layer)) {
    for (let t = first; t < end; t++) {
      const angles = rotary.subarray(t * headDim, (t + 1) * headDim);
      for (let h = 0; h < heads; h++) rotate(qkv.query(t, h), angles);
      for (let h = 0; h < kvHeads; h++) {
        rotate(qkv.key(t, h), angles);
        pages.write(table, slotBase + t - first, "key", h, qkv.key(t, h));
        pages.write(table, slotBase + t - first, "value", h, qkv.value(t, h));
      }
    }
  }
}

/** Pairs (i, i + headDim/2): (a, b) → (a·cos − b·sin, b·cos + a·sin). `angles`: cosines, then sines. */
function rotate(head: Float64Array, angles: Float64Array): void {
  const half = head.length / 2;
  for (let i = 0; i < half; i++) {
    const a = head[i], b = head[i + half];
    const cos = angles[i], sin = angles[i + half];
    head[i] = a * cos - b * sin;
    head[i + half] = b * cos + a * sin;
  }
}
