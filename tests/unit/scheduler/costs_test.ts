import assert from "node:assert/strict";
import { StageCosts } from "../../../scheduler/costs.ts";

/** Costs of a stage whose steps take fixed + perUnit · size milliseconds, seen at these sizes. */
function measured(sizes: readonly number[], msOf: (size: number) => number): StageCosts {
  const costs = new StageCosts();
  for (const size of sizes) costs.observe("prefill", size, msOf(size));
  return costs;
}

Deno.test("StageCosts knows nothing of a stage before its first step", () => {
  const costs = new StageCosts();
  costs.observe("decode", 1, 10);
  assert.equal(costs.predict("prefill", 100), 0);
  assert.equal(costs.within("prefill", 1), Infinity);
  assert.deepEqual(
    (["encode", "prefill", "compress"] as const).map((stage) => costs.knee(stage)),
    [4, 512, 8192],
  );
});

Deno.test("StageCosts.predict interpolates between sizes and extends the last one in proportion", () => {
  const costs = measured([16, 64], (size) => size);
  assert.equal(costs.predict("prefill", 16), 16);
  assert.equal(costs.predict("prefill", 40), 40);
  assert.equal(costs.predict("prefill", 128), 128);
  assert.equal(costs.predict("prefill", 1), 16, "a small step costs what the smallest seen one does");
});

Deno.test("StageCosts.within is the largest step that predict says ends in time", () => {
  const costs = measured([16, 64, 256], (size) => 10 + size / 2);
  for (const ms of [1, 17, 18, 30, 42, 100, 138, 500]) {
    const size = costs.within("prefill", ms);
    if (size >= 16) assert(costs.predict("prefill", size) <= ms, `${size} tokens in ${ms} ms`);
    if (size >= 16) assert(costs.predict("prefill", size + 1) > ms, `${size} tokens in ${ms} ms`);
    else assert(ms < costs.predict("prefill", 16));
  }
  assert.equal(costs.within("prefill", -5), 0);
});

Deno.test("StageCosts.knee is where a unit costs no less in a larger batch", () => {
  // 8 ms for up to 16 units, then half a millisecond each: a larger batch than 16 saves nothing.
  const costs = measured([1, 2, 4, 8, 16, 32, 64], (size) => Math.max(8, size / 2));
  assert.equal(costs.knee("prefill"), 32);
});

Deno.test("StageCosts.knee tries twice the largest batch while that was the cheapest a unit", () => {
  const costs = measured([4, 8, 16], () => 10);
  assert.equal(costs.knee("prefill"), 64);
});

Deno.test("StageCosts.observe follows a device that has become slower", () => {
  const costs = measured([32], () => 10);
  for (let step = 0; step < 100; step++) costs.observe("prefill", 32, 30);
  assert(Math.abs(costs.predict("prefill", 32) - 30) < 0.01);
});

Deno.test("StageCosts.observe counts one slow step double at most", () => {
  const costs = measured([32], () => 10);
  costs.observe("prefill", 32, 10_000);
  assert(costs.predict("prefill", 32) <= 10 + 0.2 * 10.1 + 1e-9);
  assert(costs.predict("prefill", 32) > 10);
});

Deno.test("StageCosts takes steps of no units and of more than any step has", () => {
  const costs = measured([0, 2 ** 24], (size) => size + 1);
  assert(Number.isFinite(costs.predict("prefill", 2 ** 22)));
});
