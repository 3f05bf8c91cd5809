import assert from "node:assert/strict";
import fc from "fast-check";
import { compareRank } from "../../../scheduler/rank.ts";
import { RankedQueue } from "../../../scheduler/ranked_queue.ts";

const waiter = (rankMs: number, order: number) => ({ rankMs, order, ended: false });

Deno.test("RankedQueue holds what was pushed in the order of service, whatever the order of pushing", () => {
  fc.assert(fc.property(fc.array(fc.nat(5), { maxLength: 40 }), (ranks) => {
    const queue = new RankedQueue<ReturnType<typeof waiter>>();
    const items = ranks.map(waiter);
    for (const item of items.toReversed()) queue.push(item);
    assert.deepEqual(queue.live(), items.toSorted(compareRank));
    assert.equal(queue.size, items.length);
  }));
});

Deno.test("RankedQueue.live forgets those that have ended", () => {
  const queue = new RankedQueue<ReturnType<typeof waiter>>();
  const items = [waiter(0, 0), waiter(1, 1), waiter(2, 2)];
  for (const item of items) queue.push(item);
  items[1].ended = true;
  assert.deepEqual(queue.live(), [items[0], items[2]]);
  assert.equal(queue.size, 2);
});

Deno.test("RankedQueue.remove takes out one, says whether it was there, and leaves the others in order", () => {
  const queue = new RankedQueue<ReturnType<typeof waiter>>();
  const items = [waiter(0, 0), waiter(0, 1), waiter(0, 2)];
  for (const item of items) queue.push(item);
  assert.equal(queue.remove(items[1]), true);
  assert.equal(queue.remove(items[1]), false);
  assert.deepEqual(queue.live(), [items[0], items[2]]);
});

Deno.test("RankedQueue.removeAll takes out all that are named and ignores others", () => {
  const queue = new RankedQueue<ReturnType<typeof waiter>>();
  const items = [waiter(0, 0), waiter(0, 1), waiter(0, 2)];
  for (const item of items) queue.push(item);
  queue.removeAll([items[2], items[0], waiter(0, 0)]);
  assert.deepEqual(queue.live(), [items[1]]);
});
