import { listKeeps, pool } from "./kv_pages.ts";
import { qkvHeads } from "./qkv.ts";
import type { Operands } from "./tensor.ts";

/** Mean and sum of squared deviations, joined with those of the tokens before (Chan, Golub, LeVeque 1979). */
export function keepMoments(o: Operands<"keepMoments">): void {
  const { heads, headDim } = o.shape;
  const qkv = qkvHeads(o.qkv, o.shape), pages = pool(o.pages);
  const size = headDim + headDim ** 2;
  for (const { mapped, table, setting: skipped } of listKeeps(o.keeps, o.map, o.layer)) {
    const before = Math.max(0, mapped.slotBase - skipped);
    const first = mapped.first + Math.max(0, skipped - mapped.slotBase);
    const added = mapped.end - first;
    if (added <= 0) continue;
    for (let h = 0; h < heads; h++) {
      const at = (o.layer * heads + h) * size;
      const kept = before > 0 ? pages.readRaw(table, at, size) : new Float64Array(size);
      const mean = new Float64Array(headDim);
      for (let t = first; t < mapped.end; t++) {
        for (const [d, q] of qkv.query(t, h).entries()) mean[d] += q / added;
      }
      const total = before + added, joint = kept.slice();
      for (let i = 0; i < headDim; i++) {
        joint[i] = kept[i] + (mean[i] - kept[i]) * added / total;
        for (let j = 0; j < headDim; j++) {
          let sum = 0;
          for (let t = first; t < mapped.end; t++) {
            const q = qkv.query(t, h);
            sum += (q[i] - mean[i]) * (q[j] - mean[j]);
          }
          joint[headDim + i * headDim + j] += sum +
            (mean[i] - kept[i]) * (mean[j] - kept[j]) * before * added / total;
        }
      }
      pages.writeRaw(table, at, joint);
    }
  }
}
