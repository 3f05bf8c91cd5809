import { assert } from "../../lib/core/assert.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { softmax } from "./softmax.ts";
import { expectShape, floats, type Operands } from "./tensor.ts";

type Rows = readonly ArrayLike<number>[];

/** Softmax over rows of the deviation, over channels, of what is left when `next`'s range is taken out. */
function spread(rows: Rows, next: Rows): Float64Array {
  const dim = rows[0].length;
  const low = new Float64Array(dim).fill(Infinity), high = new Float64Array(dim).fill(-Infinity);
  for (const row of next) {
    for (let d = 0; d < dim; d++) {
      low[d] = Math.min(low[d], row[d]);
      high[d] = Math.max(high[d], row[d]);
    }
  }
  const deviations = Float64Array.from(rows, (row) => {
    const x = Float64Array.from(
      low,
      (least, d) => high[d] > least ? (row[d] - least) / (high[d] - least) : 0,
    );
    const mean = x.reduce((sum, value) => sum + value, 0) / dim;
    return Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (dim - 1));
  });
  return softmax(deviations);
}

/** LagKV: how unlike the next partition a token is, within its own partition. */
export function kvLag(o: Operands<"kvLag">): void {
  const { sinks, lag } = o;
  const pages = pool(o.pages), scores = floats(o.scores);
  const { kvHeads } = pages.shape;
  expectShape(o.scores, o.jobs.jobs * kvHeads, o.jobs.slotsMax);
  assert(lag >= 2, "a partition has a range");
  for (const [j, { slots, source }] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      const row = scores.subarray((j * kvHeads + h) * o.jobs.slotsMax).subarray(0, slots);
      row.fill(1);
      if (slots < sinks + 2 * lag) {
        for (let slot = sinks; slot < slots; slot++) row[slot] = (slot - sinks) / (slots - sinks);
        continue;
      }
      const partitions = Math.floor((slots - sinks) / lag);
      const part = (p: number, of: "key" | "value") =>
        Array.from({ length: lag }, (_, i) => pages.read(source, sinks + p * lag + i, of, h));
      for (let p = 0; p + 1 < partitions; p++) {
        const keys = spread(part(p, "key"), part(p + 1, "key"));
        const values = spread(part(p, "value"), part(p + 1, "value"));
        const mean = keys.map((k, i) => (k + values[i]) / 2);
        // The sort is stable: equal scores stay in the order of their slots.
        const order = Array.from(mean.keys()).sort((a, b) => mean[a] - mean[b]);
        for (const [rank, i] of order.entries()) row[sinks + p * lag + i] = o.cross ? mean[i] : rank / lag;
      }
    }
  }
}
