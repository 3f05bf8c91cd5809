import { dot } from "./attention.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

/** Minus the cosine between a key and the mean direction of all of them. */
export function kvKeyDiff(o: Operands<"kvKeyDiff">): void {
  const pages = pool(o.pages), scores = floats(o.scores);
  const { kvHeads, headDim } = pages.shape;
  expectShape(o.scores, o.jobs.jobs * kvHeads, o.jobs.slotsMax);
  for (const [j, { slots, source }] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      const directions = Array.from({ length: slots }, (_, slot) => {
        const key = Float64Array.from(pages.read(source, slot, "key", h));
        const length = Math.max(Math.sqrt(dot(key, key)), 1e-12);
        return key.map((k) => k / length);
      });
      const anchor = new Float64Array(headDim);
      for (const direction of directions) direction.forEach((k, d) => anchor[d] += k / slots);
      const length = Math.max(Math.sqrt(dot(anchor, anchor)), 1e-12);
      for (const [slot, direction] of directions.entries()) {
        scores[(j * kvHeads + h) * o.jobs.slotsMax + slot] = -dot(direction, anchor) / length;
      }
    }
  }
}
