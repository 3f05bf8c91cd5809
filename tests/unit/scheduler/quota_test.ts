import assert from "node:assert/strict";
import { completionTokensMax, quotaOf } from "../../../scheduler/quota.ts";

const SHAPE = { layers: 3, pageSlots: 4, pageBytes: 64, pageCount: 30 };

Deno.test("quotaOf covers prompt and completion without the last token, which is never stored", () => {
  assert.deepEqual(quotaOf(SHAPE, 8, null, 1), { pages: 6, pagesCompressed: 6 });
  assert.deepEqual(quotaOf(SHAPE, 8, null, 2), { pages: 9, pagesCompressed: 9 });
});

Deno.test("quotaOf of a compressed prompt is the larger of raw with kept slots and kept slots with completion", () => {
  // Raw 16 slots: 4 pages; kept 4: 1 page; together 5 a layer. Afterwards 4 + 7 slots: 3 a layer.
  assert.deepEqual(quotaOf(SHAPE, 16, 4, 8), { pages: 15, pagesCompressed: 9 });
  // Afterwards 4 + 27 slots: 8 a layer.
  assert.deepEqual(quotaOf(SHAPE, 16, 4, 28), { pages: 24, pagesCompressed: 24 });
});

Deno.test("completionTokensMax is the longest completion whose quota fits an empty pool", () => {
  for (const [prompt, kept] of [[8, null], [39, null], [40, null], [16, 4], [30, 6]] as const) {
    const most = completionTokensMax(SHAPE, prompt, kept);
    assert(most >= 1);
    assert(quotaOf(SHAPE, prompt, kept, most).pages <= SHAPE.pageCount);
    assert(quotaOf(SHAPE, prompt, kept, most + 1).pages > SHAPE.pageCount);
  }
});

Deno.test("completionTokensMax is below one when the prompt cannot be stored", () => {
  assert(completionTokensMax(SHAPE, 41, null) < 1);
  assert(completionTokensMax(SHAPE, 40, 4) < 1);
});
