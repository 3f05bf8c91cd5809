import assert from "node:assert/strict";
import { keptByLayer, METHODS, usualCompression } from "../../../lib/engine/compress/mod.ts";
import type { ImageSpan, MethodName } from "../../../lib/engine/compress/method.ts";
import { computedFrom, needBytes } from "../../../lib/engine/compress/need.ts";
import { packedByLayer, packedBytes, wholeTable } from "../../../lib/engine/compress/pack.ts";
import { randomSlots } from "../../../lib/engine/compress/random.ts";
import { packJobs } from "../../../lib/engine/compress/record.ts";
import { parseCompression } from "../../../lib/engine/compress/settings.ts";
import { streamingSlots } from "../../../lib/engine/compress/streaming.ts";

Deno.test("streamingSlots keeps four sinks and the most recent", () => {
  const chosen = (slots: number, kept: number) => {
    const out = new Uint32Array(kept + 1);
    streamingSlots(out, 1, slots, kept, 4);
    return [...out.subarray(1)];
  };
  assert.deepEqual(chosen(10, 6), [0, 1, 2, 3, 8, 9]);
  assert.deepEqual(chosen(10, 3), [0, 1, 2]);
  assert.deepEqual(chosen(5, 5), [0, 1, 2, 3, 4]);
});

/** Slots that each of `layers` layers keeps of a prompt of `slots`. */
function kept(wish: Record<string, unknown>, slots: number, layers = 1, images: readonly ImageSpan[] = []) {
  const parsed = parseCompression(wish);
  assert(parsed.ok);
  return [...keptByLayer(parsed.compression, { slots: new Uint32Array(layers).fill(slots), images })];
}

Deno.test("keptByLayer truncates slots · (1 − ratio) in double precision as kvpress does", () => {
  assert.deepEqual(kept({ method: "knorm", ratio: 0.8 }, 150), [29]); // 1 − 0.8 is a bit less than 0.2
  assert.deepEqual(kept({ method: "streaming", ratio: 0.8 }, 330), [65]);
  assert.deepEqual(kept({ method: "streaming", ratio: 0.5 }, 150), [75]);
  assert.deepEqual(kept({ method: "knorm", ratio: 0.99 }, 5), [1]);
});

Deno.test("keptByLayer of mean-pool counts whole groups and the raw remainder", () => {
  assert.deepEqual(kept({ method: "mean-pool", ratio: 0.8 }, 152), [30 + 2]);
  assert.deepEqual(kept({ method: "mean-pool", ratio: 0.5 }, 7), [3 + 1]);
});

Deno.test("parseCompression says why a ratio is out of range, or makes no whole factor of mean-pool", () => {
  const problem = (method: MethodName, ratio: number) => {
    const parsed = parseCompression({ method, ratio });
    return parsed.ok ? "" : parsed.problem.message;
  };
  assert.equal(problem("knorm", 0.37), "");
  assert.equal(problem("mean-pool", 0.8), "");
  for (const ratio of [0, 1, -0.5, 2, NaN]) assert.match(problem("knorm", ratio), /above 0 and below 1/);
  assert.match(problem("mean-pool", 0.6), /whole number/);
});

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
  // What was chosen before is left in the room, and must not matter.
  const room = new Uint32Array(100);
  const chosen = (slots: number, kept: number, seed: number) => {
    const out = new Uint32Array(kept + 2).fill(1000);
    randomSlots(out, 1, slots, kept, seed, room);
    assert.deepEqual([out[0], out[kept + 1]], [1000, 1000]);
    return out.slice(1, kept + 1);
  };
  const slots = chosen(50, 20, 7);
  assert.equal(new Set(slots).size, 20);
  assert.deepEqual([...slots], [...slots].sort((a, b) => a - b));
  assert.notDeepEqual(chosen(50, 20, 8), slots);
  assert.deepEqual(chosen(50, 20, 7), slots);
  assert.deepEqual([...chosen(5, 5, 1)], [0, 1, 2, 3, 4]);
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
    slots: Uint32Array.of(20, 20),
    kept: Uint32Array.of(10, 15),
    sourceTables: [Uint32Array.of(1, 2), Uint32Array.of(3, 4)],
    targetTables: [Uint32Array.of(5), Uint32Array.of(6)],
    keep: { need: { kind: "queries", window: 3 }, pages: Uint32Array.of(7), promptTokens: 20 },
    packed: null,
    seed: [0, 0],
    images: [],
  }], { heads: 2, kvHeads: 1, headDim: 4 });
  // A layer keeps 3 queries of 2 heads of 4 channels.
  assert.deepEqual([...packed.words], [20, 10, 13, 15, 12, 0, 20, 15, 16, 18, 12, 24, 7, 1, 2, 5, 3, 4, 6]);
  assert.deepEqual([packed.jobs, packed.slotsMax, packed.keptMax], [2, 20, 15]);
});

Deno.test("packedByLayer takes whole groups, and packedBytes is their codes and pairs", () => {
  assert.deepEqual([...packedByLayer(Uint32Array.of(31, 32, 100))], [0, 32, 96]);
  const shape = { kvHeads: 4, headDim: 32, dtype: "f16" } as const;
  // 4 heads × (2 × 32 × 32 codes of half a byte, and 32 + 32 pairs of 4 B) for 32 slots, of f16 4 × 4,096 B.
  assert.equal(packedBytes(shape, 4, Uint32Array.of(32)), 4 * (1024 + 256));
  assert.equal(packedBytes(shape, 8, Uint32Array.of(32, 64)), 3 * 4 * (2048 + 256));
  // Pairs of two f32, and three a value of 72 channels.
  assert.equal(
    packedBytes({ kvHeads: 1, headDim: 72, dtype: "f32" }, 8, Uint32Array.of(32)),
    4608 + 8 * (72 + 96),
  );
});

Deno.test("wholeTable is the room for a layer's packed slots, then the pages behind them", () => {
  const part = {
    ...{ tokens: Uint32Array.of(1), positions: new Uint32Array(3), slotBase: Uint32Array.of(40, 20) },
    ...{ sampling: null, sampled: 0, pageTables: [Uint32Array.of(7), Uint32Array.of(8, 9)] },
  };
  assert.deepEqual([...wholeTable(part, 1, 16)], [8, 9]);
  const packed = {
    ...{ bits: 8 as const, slots: Uint32Array.of(32, 0) },
    ...{ pages: Uint32Array.of(1), room: Uint32Array.of(3, 4) },
  };
  assert.deepEqual([...wholeTable({ ...part, packed }, 0, 16)], [3, 4, 7]);
  assert.deepEqual([...wholeTable({ ...part, packed }, 1, 16)], [8, 9]);
});

Deno.test("parseCompression takes a ratio that is nearly a whole factor's, and stores the exact one", () => {
  const sizeOf = (method: string, ratio: number) => {
    const parsed = parseCompression({ method, ratio });
    return parsed.ok ? parsed.compression.size : null;
  };
  for (const method of ["learned", "mean-pool"]) {
    assert.deepEqual([0.667, 0.666666667, 0.857, 0.9].map((ratio) => sizeOf(method, ratio)), [
      ...[3, 3, 7, 10].map((factor) => ({ ratio: 1 - 1 / factor })),
    ]);
    assert.deepEqual([0.67, 0.66, 0.6, 0.86].map((ratio) => sizeOf(method, ratio)), [null, null, null, null]);
  }
  assert.deepEqual(sizeOf("knorm", 0.667), { ratio: 0.667 });
});
