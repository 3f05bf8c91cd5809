import { testParity } from "../support/backends.ts";
import { Draw } from "../support/cases.ts";
import { kvJobs } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";
import type { Numbers } from "../support/compare.ts";

interface Case {
  readonly kvHeads: number;
  /** Slots stored and slots kept of every job. */
  readonly jobs: readonly (readonly [slots: number, kept: number])[];
}

/** The kept slots of every row, without the undefined rest of it. */
async function ranked(
  scope: Scope,
  { kvHeads, jobs }: Case,
  scoreOf: (draw: Draw) => number,
): Promise<Numbers[]> {
  const draw = new Draw(jobs.length + kvHeads);
  const slotsMax = Math.max(...jobs.map(([slots]) => slots)),
    keptMax = Math.max(...jobs.map(([, kept]) => kept));
  const rows = jobs.length * kvHeads;
  // Past a job's slots the scores are what a kernel must not look at: larger than all, and NaN.
  const scores = Float32Array.from({ length: rows * slotsMax }, (_, i) => {
    const stored = jobs[Math.floor(i / slotsMax / kvHeads)][0];
    return i % slotsMax < stored ? scoreOf(draw) : i % 2 === 0 ? 1e30 : NaN;
  });
  const [kept] = await scope.step((step) => {
    const kept = step.tensor(rows, keptMax, "u32");
    const packed = kvJobs(step, jobs.map(([slots, kept]) => ({ slots, kept, source: [], target: [] })));
    step.kvTop({ jobs: packed, kvHeads, scores: step.upload(rows, slotsMax, scores), kept });
    return [kept];
  });
  return jobs.flatMap(([, count], j) =>
    Array.from({ length: kvHeads }, (_, h) => {
      const at = (j * kvHeads + h) * keptMax;
      return kept.subarray(at, at + count);
    })
  );
}

const CASES: readonly Case[] = [
  { kvHeads: 1, jobs: [[1, 1]] },
  { kvHeads: 2, jobs: [[5, 1], [5, 4], [5, 5]] },
  { kvHeads: 3, jobs: [[64, 13], [65, 33], [63, 62], [300, 60]] },
  { kvHeads: 1, jobs: [[1000, 200], [17, 3], [256, 255], [257, 128]] },
];

testParity(
  "kvTop keeps the slots of the largest scores, ascending by slot",
  "exact",
  CASES,
  (scope, one) => ranked(scope, one, (draw) => draw.normal(1)[0]),
);

testParity(
  "kvTop keeps the lower slots of equal scores",
  "exact",
  CASES,
  (scope, one) => ranked(scope, one, (draw) => -draw.integer(3)),
);

testParity(
  "kvTop takes all scores alike, zeros of both signs and infinities",
  "exact",
  CASES,
  (scope, one) => ranked(scope, one, (draw) => [0, -0, Infinity, -Infinity][draw.integer(4)]),
);
