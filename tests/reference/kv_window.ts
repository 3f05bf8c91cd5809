import { assert } from "../../lib/core/assert.ts";
import { dot } from "./attention.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { softmax } from "./softmax.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** SnapKV and its kin: what the last queries look at, smoothed along the slots. */
export function kvWindow(o: Operands<"kvWindow">): void {
  const { heads, kvHeads, headDim } = o.shape;
  const pages = pool(o.pages), scores = floats(o.scores), group = heads / kvHeads;
  expectShape(o.scores, o.jobs.jobs * kvHeads, o.jobs.slotsMax);
  assert(o.kernel % 2 === 1, "the kernel has a middle");
  for (const [j, { slots, source, keep, keepBase }] of listJobs(o.jobs).entries()) {
    const window = Math.min(o.window, slots), past = slots - window;
    const rows = Array.from({ length: kvHeads }, (_, kvHead) => {
      const mean = new Float64Array(past);
      for (let r = 0; r < window; r++) {
        for (let g = 0; g < group; g++) {
          const at = keepBase + (r * heads + kvHead * group + g) * headDim;
          const query = pages.readRaw(keep, at, headDim);
          const weights = softmax(Float64Array.from(
            { length: past + r + 1 },
            (_, slot) => o.scale * dot(query, pages.read(source, slot, "key", kvHead)),
          ));
          for (let slot = 0; slot < past; slot++) mean[slot] += weights[slot] / (window * group);
        }
      }
      const half = (o.kernel - 1) / 2;
      return mean.map((_, slot) => {
        let sum = 0;
        for (let d = -half; d <= half; d++) sum += mean[slot + d] ?? 0;
        return sum / o.kernel;
      });
    });
    let largest = 0;
    for (let h = 0; h < kvHeads; h++) {
      const row = o.shared
        ? rows[h].map((_, slot) => rows.reduce((sum, one) => sum + one[slot], 0) / kvHeads)
        : rows[h];
      for (const score of row) largest = Math.max(largest, score);
      scores.set(row, (j * kvHeads + h) * o.jobs.slotsMax);
    }
    for (let h = 0; h < kvHeads; h++) {
      const at = (j * kvHeads + h) * o.jobs.slotsMax;
      scores.fill(largest + 1, at + past, at + slots);
    }
  }
}
