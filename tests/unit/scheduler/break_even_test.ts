import assert from "node:assert/strict";
import { breakEvenTokens, paysOff } from "../../../scheduler/break_even.ts";
import { SlotCost } from "../../../scheduler/slot_cost.ts";

/** Each step saves 2 of 10 ms. */
const CASE = { compressMs: 40, decodeMs: 10, msPerSlot: 0.01, slotsSaved: 200, tokens: 100 };

Deno.test("breakEvenTokens is the cost of compression over what a step saves", () => {
  assert.equal(breakEvenTokens(CASE), 20);
  assert.equal(breakEvenTokens({ ...CASE, msPerSlot: 0 }), Infinity);
  assert.equal(breakEvenTokens({ ...CASE, slotsSaved: 1e6 }), 4, "no step saves more than it takes");
});

Deno.test("paysOff asks for a speed-up of a twentieth, not for the mere break-even", () => {
  assert(paysOff(CASE), "1000 ms against 40 + 800");
  assert(!paysOff({ ...CASE, tokens: 20 }), "nothing is gained yet");
  // 26.7 tokens: t · 10 = 1.05 · (40 + 8 t).
  assert(!paysOff({ ...CASE, tokens: 26 }));
  assert(paysOff({ ...CASE, tokens: 27 }));
});

Deno.test("paysOff is false for short completions, whatever they save, and while slots have no known cost", () => {
  assert(!paysOff({ ...CASE, compressMs: 0, tokens: 9 }));
  assert(paysOff({ ...CASE, compressMs: 0, tokens: 10 }));
  assert(!paysOff({ ...CASE, compressMs: 0, msPerSlot: 0 }));
});

Deno.test("SlotCost finds what a slot costs beside a fixed part and a part a sequence", () => {
  const cost = new SlotCost();
  for (let step = 0; step < 400; step++) {
    const items = 1 + step % 7, slots = items * (50 + 37 * step % 400);
    assert(step >= 32 || cost.msPerSlot === 0, "too few steps to tell");
    cost.observe(items, slots, 5 + 2 * items + 0.01 * slots);
  }
  assert(Math.abs(cost.msPerSlot - 0.01) < 1e-4, `${cost.msPerSlot}`);
});

Deno.test("SlotCost tells nothing where slots grow with the sequences alone, and never less than nothing", () => {
  const alike = new SlotCost(), falling = new SlotCost();
  for (let step = 0; step < 100; step++) {
    const items = 1 + step % 5;
    alike.observe(items, 100 * items, 5 + items);
    falling.observe(1, 100 + step, 50 - 0.1 * step);
  }
  assert.equal(alike.msPerSlot, 0);
  assert.equal(falling.msPerSlot, 0);
});
