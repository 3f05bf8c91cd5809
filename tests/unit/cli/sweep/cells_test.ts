import assert from "node:assert/strict";
import {
  cellName,
  cellsOfSweep,
  compressionOf,
  equalSlots,
  FACTORS,
} from "../../../../lib/cli/sweep/cells.ts";
import { METHOD_NAMES } from "../../../../lib/engine/compress/method.ts";
import { keptByLayer } from "../../../../lib/engine/compress/mod.ts";

const PROMPT = { slots: new Uint32Array(5).fill(80), images: [{ first: 5, count: 64 }] };

/** Factor 5 alone was trained. */
const TRAINED = [{ factor: 5, minGroups: 2, images: true }];

Deno.test("cellsOfSweep has every method but the whole cache at every factor, and no cell twice", () => {
  const cells = cellsOfSweep(TRAINED);
  for (const method of METHOD_NAMES) {
    if (method === "none" || method === "learned") continue;
    const factors = cells.filter((cell) => cellName(cell) === method).map(({ factor }) => factor);
    assert.deepEqual(factors, [...FACTORS], method);
  }
  const learned = cells.filter(({ method }) => method === "learned").map(({ factor }) => factor);
  assert.deepEqual(learned, [5], "the learned method at what it was trained for");
  assert.equal(new Set(cells.map((cell) => `${cellName(cell)} ${cell.factor}`)).size, cells.length);
});

Deno.test("equalSlots is a share rounded down, one slot at least, where nothing was trained", () => {
  assert.equal(equalSlots({ slots: Uint32Array.of(83), images: [] }, 5, []), 16);
  assert.equal(equalSlots({ slots: Uint32Array.of(7), images: [] }, 10, TRAINED), 1);
});

Deno.test("equalSlots is what the learned method stores where it was trained: groups and what is left of them", () => {
  // Text of 5 is less than two groups; 64 are 12 groups and 4; text of 11 is 2 groups and 1.
  assert.equal(equalSlots(PROMPT, 5, TRAINED), 5 + 12 + 4 + 2 + 1);
});

Deno.test("methods that can keep any number of slots keep as many as all others at that factor", () => {
  for (const cell of cellsOfSweep(TRAINED)) {
    if (cell.method === "none" || ["mean-pool", "chunkkv", "look-m"].includes(cell.method)) continue;
    const kept = keptByLayer(compressionOf(cell, PROMPT, TRAINED), PROMPT);
    const wanted = equalSlots(PROMPT, cell.factor, TRAINED);
    const mean = kept.reduce((sum, slots) => sum + slots, 0) / kept.length;
    assert.ok(Math.abs(mean - wanted) <= 0.5, `${cellName(cell)} at ${cell.factor}: ${mean} of ${wanted}`);
  }
});
