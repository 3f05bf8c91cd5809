import assert from "node:assert/strict";
import {
  completionTokensMax,
  copyPages,
  pagesAfter,
  peakPages,
  uniformPages,
} from "../../../scheduler/room.ts";

const SHAPE = { layers: 3, pageSlots: 4, pageBytes: 64, pageCount: 30 };
const kept = (...slots: number[]) => Uint32Array.from(slots);

Deno.test("uniformPages and pagesAfter count whole pages in every layer", () => {
  assert.equal(uniformPages(SHAPE, 8), 6);
  assert.equal(uniformPages(SHAPE, 9), 9);
  assert.equal(pagesAfter(SHAPE, kept(8, 4, 0), 1), 3 + 2 + 1);
});

Deno.test("peakPages covers prompt and completion without the last token, which is never stored", () => {
  assert.equal(peakPages(SHAPE, 8, null, 0, 1), 6);
  assert.equal(peakPages(SHAPE, 8, null, 0, 2), 9);
});

Deno.test("peakPages of a compressed prompt is the larger of raw with kept slots and kept slots with completion", () => {
  assert.equal(peakPages(SHAPE, 16, kept(4, 4, 4), 0, 8), 12 + 3);
  assert.equal(
    peakPages(SHAPE, 16, kept(4, 4, 4), 5, 8),
    12 + 5 + 3,
    "what prefill keeps stands beside both",
  );
  assert.equal(peakPages(SHAPE, 16, kept(4, 4, 4), 0, 28), 24);
});

Deno.test("peakPages of a contiguous pool is all that is ever held, and completionTokensMax fits the longest run", () => {
  const shape = { ...SHAPE, runPages: 24 };
  assert.equal(peakPages(shape, 8, null, 0, 2), 9);
  assert.equal(peakPages(shape, 16, kept(4, 4, 4), 5, 5), 12 + 5 + 6);
  assert.equal(completionTokensMax(shape, 8, null, 0), 25);
  assert.equal(completionTokensMax(shape, 16, kept(4, 4, 4), 5), 5);
  assert.equal(
    completionTokensMax(shape, 16, kept(4, 4, 4), 10),
    0,
    "not even one token beside what is kept",
  );
});

Deno.test("pagesAfter and copyPages count the codes, room and tail of packed slots, and their raw copy", () => {
  const packing = { slots: kept(8, 4, 0), codePages: 2 };
  // Codes, a room of two pages, and tails of 2 + 1, 3 + 1 and 1 + 1 slots.
  assert.equal(pagesAfter(SHAPE, kept(10, 7, 1), 1, packing), 2 + 2 + 3);
  assert.equal(copyPages(SHAPE, kept(10, 7, 1), packing), 3 + 2 + 1 + 2);
  assert.equal(peakPages(SHAPE, 16, kept(10, 7, 1), 0, 2, packing), 12 + 8);
  assert.equal(peakPages(SHAPE, 16, kept(10, 7, 1), 0, 70, packing), 2 + 2 + 18 + 18 + 18);
});

Deno.test("completionTokensMax is the longest completion that fits an empty pool", () => {
  const cases: [number, Uint32Array | null][] = [[1, null], [16, null], [39, null], [16, kept(4, 4, 4)], [
    20,
    kept(7, 2, 5),
  ]];
  for (const [prompt, slots] of cases) {
    const most = completionTokensMax(SHAPE, prompt, slots, 0);
    assert(most >= 1);
    assert(peakPages(SHAPE, prompt, slots, 0, most) <= SHAPE.pageCount);
    assert(peakPages(SHAPE, prompt, slots, 0, most + 1) > SHAPE.pageCount);
  }
});

Deno.test("completionTokensMax is below one when the prompt cannot be stored", () => {
  assert(completionTokensMax(SHAPE, 41, null, 0) < 1);
  assert(completionTokensMax(SHAPE, 40, kept(4, 4, 4), 0) < 1);
});
