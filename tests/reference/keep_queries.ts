import { listKeeps, pool } from "./kv_pages.ts";
import { qkvHeads } from "./qkv.ts";
import type { Operands } from "./tensor.ts";

/** Row r of the kept queries is the one of token promptTokens − window + r. */
export function keepQueries(o: Operands<"keepQueries">): void {
  const { heads, headDim } = o.shape;
  const qkv = qkvHeads(o.qkv, o.shape), pages = pool(o.pages);
  for (const { mapped, table, promptTokens, setting: window } of listKeeps(o.keeps, o.map, o.layer)) {
    const base = o.layer * window * heads * headDim;
    for (let t = mapped.first; t < mapped.end; t++) {
      const row = mapped.slotBase + t - mapped.first - (promptTokens - window);
      if (row < 0) continue;
      for (let h = 0; h < heads; h++) {
        pages.writeRaw(table, base + (row * heads + h) * headDim, qkv.query(t, h));
      }
    }
  }
}
