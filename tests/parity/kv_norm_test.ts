import type { KvDtype } from "../../lib/ops/kv.ts";
import { testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { type JobSpec, kvJobs, kvShape, storeRows } from "../support/kv.ts";
import type { Numbers } from "../support/compare.ts";

testParity(
  "kvNorm is minus the length of every stored key, for jobs of different lengths",
  "reduce",
  pairs(["f16", "f32"] as const, HEAD_SHAPES),
  async (scope, [dtype, shape]): Promise<Numbers[]> => {
    const { kvHeads, headDim } = shape;
    const draw = new Draw(headDim), free = draw.shuffled(20);
    const pages = scope.pages(kvShape(dtype, shape, 20));
    const jobs: JobSpec[] = [1, 16, 37, 70].map((slots) => (
      { slots, kept: 1, source: free.splice(0, Math.ceil(slots / 16)), target: [] }
    ));
    const [scores] = await scope.step((step) => {
      for (const { slots, source } of jobs) {
        storeRows(step, pages, source, 0, rounded(draw.normal(slots * 2 * kvHeads * headDim), dtype));
      }
      const packed = kvJobs(step, jobs);
      const scores = step.tensor(jobs.length * kvHeads, packed.slotsMax);
      step.kvNorm({ pages, jobs: packed, scores });
      return [scores];
    });
    // Entries past a job's slots are undefined.
    return jobs.flatMap(({ slots }, j) =>
      Array.from({ length: kvHeads }, (_, h) => {
        const at = (j * kvHeads + h) * 70;
        return scores.subarray(at, at + slots);
      })
    );
  },
);

/** Values that the pool's dtype holds exactly, so that only the sum is compared. */
function rounded(values: Float32Array, dtype: KvDtype): Float32Array {
  return dtype === "f16" ? values.map(Math.f16round) : values;
}
