import assert from "node:assert/strict";
import {
  compressBatch,
  decodeBatch,
  encodeBatch,
  prefillBatch,
  released,
} from "../../../scheduler/batches.ts";
import type { Held, PlanView } from "../../../scheduler/plan_view.ts";
import { entries, entryOf, NOW_MS, planView, promptOf, prompts } from "../../support/plan_view.ts";

const WIDE = { items: 64, tokens: 4096 };

/** The chunks of a prefill batch over this view, and what was held back. */
function prefilled(view: Partial<PlanView>, limits = WIDE) {
  const held: Held[] = [];
  return { chunks: prefillBatch(planView(view), limits, held)?.chunks ?? [], held };
}

const ready = (...list: ReturnType<typeof promptOf>[]) => ({ ready: list, company: false });
const memory = (availablePages: number, promisedPages = 0) => ({
  availablePages,
  promisedPages,
  totalPages: 1000,
});

Deno.test("encodeBatch counts pictures and stops at the bound of their features, which one may exceed alone", () => {
  assert.equal(encodeBatch([], WIDE), null);
  const three = encodeBatch(entries(5, { tokens: 64 }), { items: 16, tokens: 200 });
  assert.deepEqual(three, { items: 3, size: 3, full: true, sinceMs: 0 });
  assert.equal(encodeBatch(entries(2, { tokens: 64 }), { items: 16, tokens: 10 })?.items, 1);
  assert.equal(encodeBatch(entries(2, { tokens: 64 }), WIDE)?.full, false);
});

Deno.test("compressBatch counts slots and takes no more copies than there are pages for", () => {
  const held: Held[] = [];
  const batch = compressBatch(entries(4, { tokens: 100, pages: 10 }), WIDE, 25, held);
  assert.deepEqual(batch, { items: 2, size: 200, full: true, sinceMs: 0 });
  assert.deepEqual(held, []);
});

Deno.test("compressBatch says that pages are missing only when not even a lone copy would fit", () => {
  const held: Held[] = [];
  assert.equal(compressBatch(entries(2, { tokens: 100, pages: 30 }), WIDE, 25, held), null);
  assert.deepEqual(held, [{ stage: "compress", why: "pages", needed: 30, available: 25 }]);
});

Deno.test("compressBatch lets none behind overtake one whose copy does not fit", () => {
  const list = [entryOf(0, { pages: 5 }), entryOf(1, { pages: 50 }), entryOf(2, { pages: 5 })];
  assert.equal(compressBatch(list, WIDE, 25, [])?.items, 1);
});

Deno.test("prefillBatch takes whole prompts and cuts the last one at the bound of tokens", () => {
  const { chunks } = prefilled({ prefill: { ready: prompts(4), company: false } }, { items: 64, tokens: 40 });
  assert.deepEqual(chunks, [16, 16, 8]);
});

Deno.test("prefillBatch never makes a step longer than the engine takes", () => {
  const { chunks } = prefilled({ stepTokensMax: 20, prefill: { ready: prompts(4), company: false } });
  assert.deepEqual(chunks, [16, 4]);
});

Deno.test("prefillBatch leaves the pages that running sequences are expected to take", () => {
  const prefill = ready(promptOf(0), promptOf(1));
  assert.deepEqual(prefilled({ prefill, memory: memory(8) }).chunks, [16, 16]);
  const { chunks, held } = prefilled({ prefill, memory: memory(8, 1) });
  assert.deepEqual(chunks, [16]);
  assert.deepEqual(held, [{ stage: "prefill", why: "pages", needed: 4, available: 3 }]);
});

Deno.test("prefillBatch counts what those before are expected to take later", () => {
  const prefill = ready(promptOf(0, { pagesLater: 5 }), promptOf(1));
  assert.deepEqual(prefilled({ prefill, memory: memory(12) }).chunks, [16]);
  assert.deepEqual(prefilled({ prefill, memory: memory(13) }).chunks, [16, 16]);
});

Deno.test("prefillBatch lets a prompt that has begun go on with the pages that others are promised", () => {
  const begun = promptOf(0, { begun: true, pages: 3 });
  assert.deepEqual(prefilled({ prefill: ready(begun), memory: memory(3, 100) }).chunks, [16]);
  const { chunks, held } = prefilled({ prefill: ready(begun), memory: memory(2, 100) });
  assert.deepEqual(chunks, []);
  assert.deepEqual(held, [{ stage: "prefill", why: "pages", needed: 3, available: 2 }]);
});

Deno.test("prefillBatch gives a pool that nobody else uses to any request, whatever is expected of it", () => {
  const large = promptOf(0, { pages: 600, pagesLater: 900 });
  assert.deepEqual(prefilled({ prefill: ready(large) }).chunks, [16]);
  assert.deepEqual(prefilled({ prefill: ready(large), memory: memory(999) }).chunks, []);
});

Deno.test("prefillBatch gives seats only to those that begin", () => {
  const prefill = ready(promptOf(0, { begun: true, pages: 0 }), promptOf(1), promptOf(2));
  const { chunks, held } = prefilled({ prefill, seatsFree: 1 });
  assert.deepEqual(chunks, [16, 16]);
  assert.deepEqual(held, [{ stage: "prefill", why: "seats", needed: 1, available: 0 }]);
});

Deno.test("prefillBatch lets none behind overtake one that waits for pages", () => {
  const prefill = ready(promptOf(0, { pages: 50 }), promptOf(1, { pages: 1 }));
  assert.deepEqual(prefilled({ prefill, memory: memory(20) }).chunks, []);
});

Deno.test("prefillBatch is full when items or tokens are, and not when the queue is empty", () => {
  const view = planView({ prefill: { ready: prompts(4), company: false } });
  assert.equal(prefillBatch(view, { items: 2, tokens: 4096 }, [])?.full, true);
  assert.equal(prefillBatch(view, { items: 64, tokens: 64 }, [])?.full, true);
  assert.deepEqual(prefillBatch(view, WIDE, []), {
    items: 4,
    chunks: [16, 16, 16, 16],
    size: 64,
    full: false,
    sinceMs: 0,
  });
});

Deno.test("decodeBatch takes all while pages suffice, as they stand", () => {
  const list = [entryOf(2, { pages: 1 }), entryOf(0), entryOf(1, { pages: 1 })];
  assert.deepEqual(decodeBatch(list, WIDE, 2, []), [0, 1, 2]);
  assert.deepEqual(decodeBatch(list, { items: 2, tokens: 64 }, 2, []), [0, 1]);
});

Deno.test("decodeBatch serves by rank where pages are short, and those that need none all the same", () => {
  const list = [entryOf(2, { pages: 1 }), entryOf(0, { pages: 1 }), entryOf(1, { pages: 1 }), entryOf(3)];
  const held: Held[] = [];
  assert.deepEqual(decodeBatch(list, WIDE, 1, held), [1, 3]);
  assert.deepEqual(held, [{ stage: "decode", why: "pages", needed: 2, available: 0 }]);
});

Deno.test("released waits for company as long as the window says, and not without company or room for it", () => {
  const batch = { items: 1, size: 16, full: false, sinceMs: NOW_MS - 4 };
  const view = (company: boolean) => planView({ prefill: { ready: prompts(1), company } });
  assert.equal(view(true).windows.prefill.waitMs, 5);
  assert.equal(released(view(true), "prefill", batch), false);
  assert.equal(released(view(false), "prefill", batch), true);
  assert.equal(released(view(true), "prefill", { ...batch, full: true }), true);
  assert.equal(released(view(true), "prefill", { ...batch, sinceMs: NOW_MS - 5 }), true);
});
