import { assert } from "../../lib/core/assert.ts";
import { listJobs, pool } from "./kv_pages.ts";
import { expectShape, type Operands, words } from "./tensor.ts";

/** Target slot i of head h = source slot kept[j·kvHeads + h, i], keys and values, for i < the job's kept count. */
export function kvGather(o: Operands<"kvGather">): void {
  const pages = pool(o.pages), kept = words(o.kept);
  const { kvHeads } = pages.shape;
  expectShape(o.kept, o.jobs.jobs * kvHeads, o.jobs.keptMax);
  for (const [j, job] of listJobs(o.jobs).entries()) {
    for (let h = 0; h < kvHeads; h++) {
      for (let i = 0; i < job.kept; i++) {
        const slot = kept[(j * kvHeads + h) * o.jobs.keptMax + i];
        assert(slot < job.slots, `slot ${slot} is stored`);
        for (const part of ["key", "value"] as const) {
          pages.write(job.target, i, part, h, pages.read(job.source, slot, part, h));
        }
      }
    }
  }
}
