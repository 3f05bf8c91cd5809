import assert from "node:assert/strict";
import { ArrivalOrder, compareRank, PRIORITY_STEP_MS, type Ranked } from "../../../scheduler/rank.ts";

/** Orders of arrival in the order of service. */
function served(ranks: readonly Ranked[]): number[] {
  return ranks.toSorted(compareRank).map(({ order }) => order);
}

Deno.test("compareRank serves the lower rank first and equal ranks in the order of arrival", () => {
  assert.deepEqual(
    served([{ rankMs: 5, order: 0 }, { rankMs: 3, order: 2 }, { rankMs: 3, order: 1 }]),
    [1, 2, 0],
  );
});

Deno.test("ArrivalOrder.arrive ranks by arrival where nothing else tells requests apart", () => {
  const order = new ArrivalOrder();
  assert.deepEqual([10, 20, 20].map((ms) => order.arrive("", 0, ms, 0)), [
    { rankMs: 10, order: 0 },
    { rankMs: 20, order: 1 },
    { rankMs: 20, order: 2 },
  ]);
});

Deno.test("ArrivalOrder.arrive gives each step of priority a head start of the same length", () => {
  const order = new ArrivalOrder();
  const plain = order.arrive("", 0, 0, 0);
  const urgent = order.arrive("", -1, PRIORITY_STEP_MS - 1, 0);
  const late = order.arrive("", -1, PRIORITY_STEP_MS + 1, 0);
  const patient = order.arrive("", 2, 0, 0);
  assert.equal(
    patient.rankMs,
    PRIORITY_STEP_MS + 1 + 2 * PRIORITY_STEP_MS,
    "its own tenant was ranked later",
  );
  assert.deepEqual(served([plain, urgent, late, patient]), [1, 0, 2, 3]);
});

Deno.test("ArrivalOrder.arrive lets nobody be overtaken for ever, whatever the priority of those that come", () => {
  const order = new ArrivalOrder();
  const waiting = order.arrive("patient", 1, 0, 0);
  const overtaking = Array.from(
    { length: 1000 },
    (_, second) => order.arrive("urgent", -3, second * 1000, 0),
  ).filter((urgent) => compareRank(urgent, waiting) < 0);
  // Four steps apart: those of the first 40 s go ahead, none later.
  assert.equal(overtaking.length, 4 * PRIORITY_STEP_MS / 1000);
});

Deno.test("ArrivalOrder.arrive puts a tenant's requests one drain interval apart, so that others come between", () => {
  const order = new ArrivalOrder();
  const flood = Array.from({ length: 5 }, () => order.arrive("flood", 0, 0, 100));
  const few = [order.arrive("few", 0, 50, 100), order.arrive("few", 0, 50, 100)];
  assert.deepEqual(flood.map(({ rankMs }) => rankMs), [0, 100, 200, 300, 400]);
  assert.deepEqual(served([...flood, ...few]), [0, 5, 1, 6, 2, 3, 4]);
});

Deno.test("ArrivalOrder.leave forgets a tenant when the last of its requests waits no longer", () => {
  const order = new ArrivalOrder();
  order.arrive("a", 0, 0, 1000);
  order.arrive("a", 0, 0, 1000);
  order.leave("a");
  assert.equal(order.arrive("a", 0, 0, 1000).rankMs, 2000, "one of two waits still");
  order.leave("a");
  order.leave("a");
  assert.equal(order.arrive("a", 0, 7, 1000).rankMs, 7);
});
