import { PackedPages } from "./kv_packing.ts";
import { listJobs, pool } from "./kv_pages.ts";
import type { Operands } from "./tensor.ts";

/** What the codes of packed slots stand for, written to target slots. */
export function kvUnpack(o: Operands<"kvUnpack">): void {
  const pages = pool(o.pages), { kvHeads, headDim } = pages.shape;
  for (const { slots, target, keep, keepBase } of listJobs(o.jobs)) {
    const packed = new PackedPages(pages, keep, keepBase, o.bits);
    for (let slot = 0; slot < slots; slot++) {
      for (let head = 0; head < kvHeads; head++) {
        for (const part of ["key", "value"] as const) {
          const row = Float64Array.from({ length: headDim }, (_, d) => {
            const { scale, least } = packed.pair(part, slot, head, d);
            return Math.fround(Math.fround(packed.code(part, slot, head, d) * scale) + least);
          });
          pages.write(target, slot, part, head, row);
        }
      }
    }
  }
}
