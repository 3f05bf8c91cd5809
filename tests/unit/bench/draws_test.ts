import assert from "node:assert/strict";
import { Draws } from "../../../bench/draws.ts";

Deno.test("integer stays inside its bounds and reaches both", () => {
  const draws = new Draws("bounds");
  const seen = new Set(Array.from({ length: 500 }, () => draws.integer(3, 6)));
  assert.deepEqual([...seen].sort(), [3, 4, 5, 6]);
});

Deno.test("sample takes different items, weighted never one of weight 0", () => {
  const draws = new Draws("items");
  for (let i = 0; i < 100; i++) {
    assert.equal(new Set(draws.sample([1, 2, 3, 4, 5], 4)).size, 4);
    assert.notEqual(draws.weighted(["a", "b", "c"], [1, 0, 2]), "b");
  }
});

Deno.test("normal has mean 0 and variance 1", () => {
  const draws = new Draws("normal");
  const values = Array.from({ length: 20_000 }, () => draws.normal());
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length;
  assert.ok(Math.abs(mean) < 0.03 && Math.abs(variance - 1) < 0.05, `mean ${mean}, variance ${variance}`);
});
