import { dot } from "./attention.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { expectShape, type Operands, words } from "./tensor.ts";

/** LOOK-M's pivotal merge: what goes is folded, half way, into the most similar of what stays. */
export function kvMerge(o: Operands<"kvMerge">): void {
  const pages = pool(o.pages), kept = words(o.kept);
  const { kvHeads, headDim } = pages.shape;
  expectShape(o.kept, o.jobs.jobs * kvHeads, o.jobs.keptMax);
  for (const [j, job] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      const at = (j * kvHeads + h) * o.jobs.keptMax;
      const stays = Array.from(kept.subarray(at, at + job.kept));
      const read = (slot: number, part: "key" | "value") =>
        Float64Array.from(pages.read(job.source, slot, part, h));
      const direction = (slot: number) => {
        const key = read(slot, "key"), length = Math.max(Math.sqrt(dot(key, key)), 1e-12);
        return key.map((k) => k / length);
      };
      const directions = stays.map(direction);
      const joined = stays.map(() => [] as number[]);
      for (let slot = 0; slot < job.slots; slot++) {
        if (stays.includes(slot)) continue;
        const own = direction(slot);
        let best = 0;
        for (let i = 1; i < stays.length; i++) {
          if (dot(own, directions[i]) > dot(own, directions[best])) best = i;
        }
        joined[best].push(slot);
      }
      for (const part of ["key", "value"] as const) {
        for (const [i, slot] of stays.entries()) {
          const own = read(slot, part), sum = own.slice();
          for (const other of joined[i]) {
            const row = read(other, part);
            for (let d = 0; d < headDim; d++) sum[d] += (row[d] + own[d]) / 2;
          }
          pages.write(job.target, i, part, h, sum.map((value) => value / (1 + joined[i].length)));
        }
      }
    }
  }
}
