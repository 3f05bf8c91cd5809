import assert from "node:assert/strict";
import { keptSlots, ratioProblem } from "../../../lib/engine/compress/mod.ts";
import { packJobs } from "../../../lib/engine/compress/record.ts";
import { streamingSlots } from "../../../lib/engine/compress/streaming.ts";

Deno.test("keptSlots truncates slots · (1 − ratio) in double precision as kvpress does", () => {
  assert.equal(keptSlots("knorm", 0.8, 150), 29); // 1 − 0.8 is a bit less than 0.2
  assert.equal(keptSlots("streaming", 0.8, 330), 65);
  assert.equal(keptSlots("streaming", 0.5, 150), 75);
  assert.equal(keptSlots("knorm", 0.99, 5), 1);
});

Deno.test("keptSlots of mean-pool counts whole groups and the raw remainder", () => {
  assert.equal(keptSlots("mean-pool", 0.8, 152), 30 + 2);
  assert.equal(keptSlots("mean-pool", 0.5, 7), 3 + 1);
});

Deno.test("ratioProblem names a ratio out of range and a mean-pool ratio without a whole factor", () => {
  assert.equal(ratioProblem("knorm", 0.37), null);
  assert.equal(ratioProblem("mean-pool", 0.8), null);
  for (const ratio of [0, 1, -0.5, 2, NaN]) {
    assert.match(ratioProblem("knorm", ratio)!, /above 0 and below 1/);
  }
  assert.match(ratioProblem("mean-pool", 0.6)!, /whole number/);
});

Deno.test("streamingSlots keeps four sinks and the most recent", () => {
  assert.deepEqual([...streamingSlots(10, 6)], [0, 1, 2, 3, 8, 9]);
  assert.deepEqual([...streamingSlots(10, 3)], [0, 1, 2]);
  assert.deepEqual([...streamingSlots(5, 5)], [0, 1, 2, 3, 4]);
});

Deno.test("packJobs makes one job a layer, with its tables behind", () => {
  const packed = packJobs([{
    method: "knorm",
    ratio: 0.5,
    slots: Uint32Array.of(20, 30),
    kept: Uint32Array.of(10, 15),
    images: [],
    sourceTables: [Uint32Array.of(1, 2), Uint32Array.of(3, 4)],
    targetTables: [Uint32Array.of(5), Uint32Array.of(6)],
  }]);
  assert.deepEqual([...packed.words], [20, 10, 8, 10, 30, 15, 11, 13, 1, 2, 5, 3, 4, 6]);
  assert.deepEqual([packed.jobs, packed.slotsMax, packed.keptMax], [2, 30, 15]);
});
