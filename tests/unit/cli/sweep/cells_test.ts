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

Deno.test("cellsOfSweep has every method but the whole cache at every factor, and no cell twice", () => {
  const cells = cellsOfSweep();
  for (const method of METHOD_NAMES) {
    if (method === "none") continue;
    const factors = cells.filter((cell) => cellName(cell) === method).map(({ factor }) => factor);
    assert.deepEqual(factors, [...FACTORS], method);
  }
  assert.equal(new Set(cells.map((cell) => `${cellName(cell)} ${cell.factor}`)).size, cells.length);
});

Deno.test("equalSlots is a share rounded down, and one slot at least", () => {
  assert.equal(equalSlots({ slots: Uint32Array.of(83), images: [] }, 5), 16);
  assert.equal(equalSlots({ slots: Uint32Array.of(7), images: [] }, 10), 1);
});

Deno.test("methods that can keep any number of slots keep as many as all others at that factor", () => {
  for (const cell of cellsOfSweep()) {
    const kept = keptByLayer(compressionOf(cell, PROMPT), PROMPT), wanted = equalSlots(PROMPT, cell.factor);
    if (["mean-pool", "chunkkv", "look-m"].includes(cell.method)) continue;
    const mean = kept.reduce((sum, slots) => sum + slots, 0) / kept.length;
    assert.ok(Math.abs(mean - wanted) <= 0.5, `${cellName(cell)} at ${cell.factor}: ${mean} of ${wanted}`);
  }
});
