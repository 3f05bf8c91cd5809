import assert from "node:assert/strict";
import { type KvBits, type KvDtype, packedGroupWords } from "../../lib/ops/kv.ts";
import { testEach, testParity } from "../support/backends.ts";
import { Draw, HEAD_SHAPES, pairs } from "../support/cases.ts";
import { assertSameBits } from "../support/compare.ts";
import { attendRows, type JobSpec, kvJobs, kvShape, readValues, storeRows } from "../support/kv.ts";
import type { Scope } from "../support/scope.ts";

const DTYPES: readonly KvDtype[] = ["f16", "f32"], BITS: readonly KvBits[] = [8, 4];
/** Less than a group, one, several and a rest. */
const LENGTHS = [5, 32, 75];

/**
 * Slots packed and unpacked elsewhere, then the tail where it stood: what attention reads of both. Values are whole numbers
 * from 0 to 2^bits − 1, both ends in each group, so that their codes are exact and the layout decides alone.
 */
async function packed(scope: Scope, dtype: KvDtype, bits: KvBits, shape: typeof HEAD_SHAPES[number]) {
  const { kvHeads, headDim } = shape, draw = new Draw(headDim + bits);
  const pageSlots = dtype === "f16" ? 16 : 8, described = kvShape(dtype, shape, 1, pageSlots);
  const groupPages = Math.ceil(kvHeads * packedGroupWords(described, bits) / (described.pageBytes / 4));
  const free = draw.shuffled(180), pages = scope.pages(kvShape(dtype, shape, 180, pageSlots));
  const jobs: JobSpec[] = LENGTHS.map((slots) => ({
    slots,
    kept: slots,
    source: [],
    target: free.splice(0, Math.ceil(slots / pageSlots)),
    keep: free.splice(0, groupPages * Math.floor(slots / 32)),
  }));
  const whole = jobs.filter(({ slots }) => slots >= 32).map((job) => ({
    ...{ ...job, slots: Math.floor(job.slots / 32) * 32, kept: Math.floor(job.slots / 32) * 32 },
    target: free.splice(0, 9),
  }));
  const queries = draw.normal(2 * kvHeads * headDim, 0.02);
  return await scope.step((step) => {
    for (const { slots, target } of jobs) {
      const rows = Float32Array.from(
        draw.integers(slots * 2 * kvHeads * headDim, 2 ** bits),
        (value, i) => {
          // Slots 0 and 1 of a group hold a channel's ends; channels 0 and 1 of a part those of a value.
          const slot = Math.floor(i / (2 * kvHeads * headDim)) % 32,
            key = i % (2 * kvHeads * headDim) < kvHeads * headDim;
          const at = key ? slot : i % headDim % 32;
          return at === 0 ? 0 : at === 1 ? 2 ** bits - 1 : value;
        },
      );
      storeRows(step, pages, target, 0, rows);
    }
    step.kvPack({ pages, jobs: kvJobs(step, jobs), bits, tail: true });
    step.kvUnpack({ pages, jobs: kvJobs(step, whole), bits });
    return [
      ...[...jobs, ...whole].map(({ slots, target }) => attendRows(step, pages, target, slots, queries)),
      readValues(step, pages, whole[1].target, 16, free),
    ];
  });
}

testParity(
  "kvPack and kvUnpack give back values that codes hold exactly, and round the tail in place",
  "reduce",
  // Packed heads are whole groups of eight channels.
  pairs(pairs(DTYPES, BITS), HEAD_SHAPES.filter(({ headDim }) => headDim % 8 === 0)),
  (scope, [[dtype, bits], shape]) => packed(scope, dtype, bits, shape),
);

for (const [dtype, bits] of pairs(DTYPES, BITS)) {
  testEach(
    `kvPack of ${dtype} at ${bits} bits is off by half a step at most, and leaves a float tail`,
    async (scope) => {
      const shape = { heads: 1, kvHeads: 1, headDim: 72 }, pageSlots = dtype === "f16" ? 16 : 8;
      const draw = new Draw(4),
        free = draw.shuffled(130),
        pages = scope.pages(kvShape(dtype, shape, 130, pageSlots));
      const target = free.splice(0, 5), keep = free.splice(0, 4), room = free.splice(0, 4);
      const spare = free.splice(0, 37);
      const rows = draw.normal(37 * 144, 2, 1).map((x) => dtype === "f16" ? Math.f16round(x) : x);
      const job = { slots: 37, kept: 37, source: [], target, keep };
      const [before, after, unpacked] = await scope.step((step) => {
        storeRows(step, pages, target, 0, rows);
        const before = readValues(step, pages, target, 37, spare);
        step.kvPack({ pages, jobs: kvJobs(step, [job]), bits, tail: false });
        const after = readValues(step, pages, target, 37, spare);
        step.kvUnpack({ pages, jobs: kvJobs(step, [{ ...job, slots: 32, kept: 32, target: room }]), bits });
        return [before, after, readValues(step, pages, room, 32, spare)];
      });
      assertSameBits(after, before, "target slots");
      for (let slot = 0; slot < 32; slot++) {
        for (let part = 0; part < 72; part += 32) {
          const at = slot * 72 + part, count = Math.min(32, 72 - part), own = before.subarray(at, at + count);
          const step = (Math.max(...own) - Math.min(...own)) / (2 ** bits - 1);
          for (let d = 0; d < count; d++) {
            const error = Math.abs(unpacked[at + d] - own[d]);
            // With halves the pair is rounded too.
            assert(
              error <= step * (dtype === "f16" ? 0.75 : 0.501) + (dtype === "f16" ? 4e-3 : 0),
              `slot ${slot}: ${error} of ${step}`,
            );
          }
        }
      }
    },
  );
}
