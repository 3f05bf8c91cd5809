import assert from "node:assert/strict";
import { cellName, cellsOfSweep, compressionOf, FACTORS, slotsOf } from "../../../../lib/cli/sweep/cells.ts";
import { METHOD_NAMES } from "../../../../lib/engine/compress/method.ts";
import { keptByLayer } from "../../../../lib/engine/compress/mod.ts";
import { uniformFactors } from "../../../../lib/model/compressor.ts";

const PROMPT = { slots: new Uint32Array(5).fill(80), images: [{ first: 5, count: 64 }] };

/** Factor 5 alone was trained. */
const TRAINED = [{ factor: 5, minGroups: 2, factors: uniformFactors(5, 5) }];

Deno.test("cellsOfSweep has every method but the whole cache at every factor, and no cell twice", () => {
  const cells = cellsOfSweep(TRAINED);
  for (const method of METHOD_NAMES) {
    if (method === "none" || method === "learned") continue;
    const own = cells.filter((cell) => cellName(cell) === method);
    const at = (slots: string) => own.filter((cell) => cell.slots === slots).map(({ factor }) => factor);
    assert.deepEqual([at("share"), at("learned")], [[...FACTORS], [5]], method);
  }
  const learned = cells.filter(({ method }) => method === "learned").map(({ factor }) => factor);
  assert.deepEqual(learned, [5], "the learned method at what it was trained for");
  const keys = cells.map((cell) => `${cellName(cell)} ${cell.factor} ${cell.slots}`);
  assert.equal(new Set(keys).size, cells.length);
});

Deno.test("slotsOf a share is rounded down, and one slot at least", () => {
  const at = (slots: number, factor: number) =>
    slotsOf({ factor, slots: "share" }, { slots: Uint32Array.of(slots), images: [] }, TRAINED);
  assert.deepEqual([at(83, 5), at(7, 10)], [16, 1]);
});

Deno.test("slotsOf what learned stores are its groups and what is left of them", () => {
  // Text of 5 is less than two groups; 64 are 12 groups and 4; text of 11 is 2 groups and 1.
  assert.equal(slotsOf({ factor: 5, slots: "learned" }, PROMPT, TRAINED), 5 + 12 + 4 + 2 + 1);
  // Pictures of 2, 64 (the fewest groups are two), 8, 4 and 64 slots, and one text of 5 and one of 3 slots: 41.8 on average.
  const factors = { text: [5, 5, 5, 5, 5], image: [32, 1, 8, 16, 1] };
  const mixed = [{ factor: 5, minGroups: 2, factors }];
  assert.equal(
    slotsOf({ factor: 5, slots: "learned" }, PROMPT, mixed),
    Math.round((2 + 64 + 8 + 4 + 64) / 5) + 8,
  );
});

Deno.test("methods that can keep any number of slots keep as many as all others of that size", () => {
  for (const cell of cellsOfSweep(TRAINED)) {
    if (cell.method === "none" || ["mean-pool", "chunkkv", "look-m"].includes(cell.method)) continue;
    const kept = keptByLayer(compressionOf(cell, PROMPT, TRAINED), PROMPT);
    const wanted = slotsOf(cell, PROMPT, TRAINED);
    const mean = kept.reduce((sum, slots) => sum + slots, 0) / kept.length;
    assert.ok(Math.abs(mean - wanted) <= 0.5, `${cellName(cell)} at ${cell.factor}: ${mean} of ${wanted}`);
  }
});
