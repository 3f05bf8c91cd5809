import assert from "node:assert/strict";
import { Draw } from "../../support/cases.ts";
import { testGpu } from "../../support/gpu.ts";
import { kvJobs } from "../../support/kv.ts";
import { Scope } from "../../support/scope.ts";

/** The `kept` slots of the largest scores, ties to the lower slot. */
function largest(scores: Float32Array, kept: number): number[] {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);
  return order.slice(0, kept).sort((a, b) => a - b);
}

/** Slots of rows for which a graphics card's workgroups have 32, 32, 64, 128, 256 and again 256 threads. */
const SLOTS = [1, 30, 50, 100, 200, 1000];

testGpu("kvTop keeps the largest scores with the workgroups of a graphics card", {
  tuning: { software: false },
}, async (backend) => {
  using scope = new Scope(backend);
  for (const slots of SLOTS) {
    const draw = new Draw(slots), kvHeads = 2, kept = Math.ceil(slots / 3);
    // Few values, so that many tie.
    const scores = Float32Array.from({ length: kvHeads * slots }, () => draw.integer(9) - 4);
    const [rows] = await scope.step((step) => {
      const out = step.tensor(kvHeads, kept, "u32");
      const jobs = kvJobs(step, [{ slots, kept, source: [], target: [] }]);
      step.kvTop({ jobs, kvHeads, scores: step.upload(kvHeads, slots, scores), kept: out });
      return [out];
    });
    const expected = [0, 1].flatMap((head) =>
      largest(scores.subarray(head * slots, (head + 1) * slots), kept)
    );
    assert.deepEqual([...rows], expected, `${slots} slots`);
  }
});
