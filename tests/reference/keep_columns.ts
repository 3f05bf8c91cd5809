import { dot } from "./attention.ts";
import { listKeeps, pool } from "./kv_pages.ts";
import { kvHeadOf, qkvHeads } from "./qkv.ts";
import { softmax } from "./softmax.ts";
import type { Operands } from "./tensor.ts";

/** Sums of attention weights by slot, over the queries so far and the heads that read one KV head. */
export function keepColumns(o: Operands<"keepColumns">): void {
  const { heads, kvHeads } = o.shape;
  const qkv = qkvHeads(o.qkv, o.shape), pages = pool(o.pages);
  for (const { mapped, table, promptTokens } of listKeeps(o.keeps, o.map, o.layer)) {
    const { slotBase, first, end } = mapped, seen = slotBase + end - first;
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const at = (o.layer * kvHeads + kvHead) * promptTokens;
      const sums = new Float64Array(seen);
      sums.set(pages.readRaw(table, at, slotBase));
      for (let t = first; t < end; t++) {
        for (let h = 0; h < heads; h++) {
          if (kvHeadOf(h, o.shape) !== kvHead) continue;
          const scores = Float64Array.from(
            { length: slotBase + t - first + 1 },
            (_, slot) => o.scale * dot(qkv.query(t, h), pages.read(mapped.table, slot, "key", kvHead)),
          );
          for (const [slot, weight] of softmax(scores).entries()) sums[slot] += weight;
        }
      }
      pages.writeRaw(table, at, sums);
    }
  }
}
