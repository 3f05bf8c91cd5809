import assert from "node:assert/strict";
import {
  keptByLayer,
  keptSlots,
  METHODS,
  ratioProblem,
  usualCompression,
} from "../../../lib/engine/compress/mod.ts";
import type { ImageSpan, MethodName } from "../../../lib/engine/compress/method.ts";
import { computedFrom, needBytes } from "../../../lib/engine/compress/need.ts";
import { randomSlots } from "../../../lib/engine/compress/random.ts";
import { packJobs } from "../../../lib/engine/compress/record.ts";
import { parseCompression } from "../../../lib/engine/compress/settings.ts";
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
  assert.deepEqual([...streamingSlots(10, 6, 4)], [0, 1, 2, 3, 8, 9]);
  assert.deepEqual([...streamingSlots(10, 3, 4)], [0, 1, 2]);
  assert.deepEqual([...streamingSlots(5, 5, 4)], [0, 1, 2, 3, 4]);
});

/** Slots that each of `layers` layers keeps of a prompt of `slots`. */
function kept(wish: Record<string, unknown>, slots: number, layers = 1, images: readonly ImageSpan[] = []) {
  const parsed = parseCompression(wish);
  assert(parsed.ok);
  return [...keptByLayer(parsed.compression, { slots: new Uint32Array(layers).fill(slots), images })];
}

Deno.test("keptByLayer takes a budget of tokens as well as a ratio", () => {
  assert.deepEqual(kept({ method: "knorm", budget: 30 }, 150, 2), [30, 30]);
  assert.deepEqual(kept({ method: "knorm", budget: 300 }, 150), [150]);
  // Means of four; of three 50 would remain.
  assert.deepEqual(kept({ method: "mean-pool", budget: 40 }, 150), [37 + 2]);
  assert.deepEqual(kept({ method: "mean-pool", budget: 300 }, 150), [150]);
});

Deno.test("keptByLayer of pyramidkv is kvpress' pyramid, and uniform where none fits", () => {
  const narrow = { method: "pyramidkv", window_size: 8, beta: 4 };
  assert.deepEqual(kept({ ...narrow, ratio: 0.8 }, 330, 3), [115, 66, 16]);
  assert.deepEqual(kept({ ...narrow, ratio: 0.5 }, 150, 3), [131, 75, 19]);
  assert.deepEqual(kept({ ...narrow, ratio: 0.8 }, 150, 3), [30, 30, 30]);
  assert.deepEqual(kept({ ...narrow, budget: 66 }, 330, 3), [116, 66, 16]);
  assert.deepEqual(kept({ ...narrow, ratio: 0.5 }, 9), [4]);
});

Deno.test("keptByLayer of chunkkv counts whole chunks and always the last one", () => {
  assert.deepEqual(kept({ method: "chunkkv", ratio: 0.8 }, 150), [10]);
  assert.deepEqual(kept({ method: "chunkkv", ratio: 0.5 }, 150), [70]);
  assert.deepEqual(kept({ method: "chunkkv", chunk_length: 8, ratio: 0.8 }, 330), [58]);
  assert.deepEqual(kept({ method: "chunkkv", budget: 69 }, 150), [50]);
  assert.deepEqual(kept({ method: "chunkkv", ratio: 0.5 }, 7), [7]);
});

Deno.test("keptByLayer of look-m keeps all text, whatever the budget", () => {
  const half = { method: "look-m", ratio: 0.5 },
    picture = (first: number, count: number) => ({ first, count });
  assert.deepEqual(kept(half, 100), [100]);
  // 50 of 100, 25 of them recent: 15 slots of text before those leave room for 10 of the picture's.
  assert.deepEqual(kept(half, 100, 2, [picture(5, 60)]), [50, 50]);
  assert.deepEqual(kept(half, 100, 1, [picture(5, 20), picture(50, 10)]), [25 + 45]);
  // A picture that reaches into the recent window.
  assert.deepEqual(kept(half, 100, 1, [picture(60, 40)]), [25 + 60]);
});

Deno.test("randomSlots are distinct, ascending, and decided by the seed", () => {
  const slots = randomSlots(50, 20, 7);
  assert.equal(new Set(slots).size, 20);
  assert.deepEqual([...slots], [...slots].sort((a, b) => a - b));
  assert.deepEqual(randomSlots(50, 20, 7), slots);
  assert.notDeepEqual(randomSlots(50, 20, 8), slots);
  assert.deepEqual([...randomSlots(5, 5, 1)], [0, 1, 2, 3, 4]);
});

Deno.test("needBytes and computedFrom say what prefill keeps and from where it must compute", () => {
  const shape = { heads: 8, kvHeads: 4, headDim: 32 };
  const need = (method: MethodName) => METHODS[method].need(usualCompression(method, 0.5).settings);
  assert.equal(need("knorm"), null);
  assert.equal(computedFrom(null, 100), 99);
  // 5 layers × 64 queries × 8 heads × 32 channels × 4 B.
  assert.equal(needBytes(need("snapkv")!, shape, 5, 100), 5 * 64 * 8 * 32 * 4);
  assert.equal(needBytes(need("snapkv")!, shape, 5, 10), 5 * 10 * 8 * 32 * 4);
  assert.equal(computedFrom(need("snapkv"), 100), 36);
  assert.equal(computedFrom(need("tova"), 100), 99);
  assert.equal(needBytes(need("expected-attention")!, shape, 5, 100), 5 * 8 * (32 + 32 * 32) * 4);
  assert.equal(computedFrom(need("expected-attention"), 100), 0);
  assert.equal(needBytes(need("h2o")!, shape, 5, 100), 5 * 4 * 100 * 4);
  assert.equal(computedFrom(need("h2o"), 100), 0);
});

Deno.test("packJobs makes one job a layer, with its tables behind", () => {
  const packed = packJobs([{
    compression: usualCompression("snapkv", 0.5),
    slots: Uint32Array.of(20, 30),
    kept: Uint32Array.of(10, 15),
    sourceTables: [Uint32Array.of(1, 2), Uint32Array.of(3, 4)],
    targetTables: [Uint32Array.of(5), Uint32Array.of(6)],
    keep: { need: { kind: "queries", window: 3 }, pages: Uint32Array.of(7), promptTokens: 20 },
    seed: [0, 0],
    images: [],
  }], { heads: 2, kvHeads: 1, headDim: 4 });
  // A layer keeps 3 queries of 2 heads of 4 channels.
  assert.deepEqual([...packed.words], [20, 10, 13, 15, 12, 0, 30, 15, 16, 18, 12, 24, 7, 1, 2, 5, 3, 4, 6]);
  assert.deepEqual([packed.jobs, packed.slotsMax, packed.keptMax], [2, 30, 15]);
});
