import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { Buddy, orderFor, orderWithin } from "../../../pool/buddy.ts";

function blocks(buddy: Buddy): [number, number, boolean][] {
  const list: [number, number, boolean][] = [];
  buddy.forEachBlock((...block) => list.push(block));
  return list;
}

Deno.test("orderFor rounds up and orderWithin rounds down to a power of two", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 1024, 1025].map(orderFor), [0, 1, 2, 2, 3, 10, 11]);
  assert.deepEqual([1, 2, 3, 4, 5, 1024, 1025].map(orderWithin), [0, 1, 1, 2, 2, 10, 10]);
});

Deno.test("Buddy begins with aligned powers of two that add up to its capacity", () => {
  assert.deepEqual(blocks(new Buddy(13)), [[0, 3, true], [8, 2, true], [12, 0, true]]);
  assert.deepEqual(blocks(new Buddy(0)), []);
});

Deno.test("Buddy.allocate splits the smallest block that is long enough", () => {
  const buddy = new Buddy(13);
  assert.equal(buddy.allocate(0), 12);
  assert.equal(buddy.allocate(1), 8);
  assert.deepEqual(blocks(buddy), [[0, 3, true], [8, 1, false], [10, 1, true], [12, 0, false]]);
});

Deno.test("Buddy.allocate answers null when nothing is long enough, and changes nothing", () => {
  const buddy = new Buddy(6);
  assert.equal(buddy.allocate(3), null);
  assert.equal(buddy.allocate(2), 0);
  assert.equal(buddy.allocate(2), null);
  assert.equal(buddy.freeUnits, 2);
});

Deno.test("Buddy.free joins buddies up to the initial block and never across its end", () => {
  const buddy = new Buddy(6);
  const all = [0, 0, 0, 0, 0, 0].map((order) => buddy.allocate(order)!);
  assert.equal(new Set(all).size, 6);
  assert.equal(buddy.largestFreeOrder, -1);
  for (const offset of [3, 0, 5, 2, 1, 4]) assert.equal(buddy.free(offset), 0);
  assert.deepEqual(blocks(buddy), [[0, 2, true], [4, 1, true]]);
});

Deno.test("Buddy.free refuses what is not the beginning of an allocated block", () => {
  const buddy = new Buddy(8);
  const offset = buddy.allocate(1)!;
  assert.throws(() => buddy.free(offset + 1), AssertionError);
  buddy.free(offset);
  assert.throws(() => buddy.free(offset), AssertionError);
  assert.throws(() => buddy.free(99), AssertionError);
});

Deno.test("Buddy.allocateRun takes exactly the units asked for, adjacent, and freeRun gives them all back", () => {
  const buddy = new Buddy(16);
  const run = buddy.allocateRun(11)!;
  assert.equal(buddy.allocatedUnits, 11);
  assert.deepEqual(blocks(buddy).filter(([, , free]) => !free), [[run, 3, false], [run + 8, 1, false], [
    run + 10,
    0,
    false,
  ]]);
  assert.equal(buddy.allocateRun(9), null);
  assert.equal(buddy.allocateRun(4), 12);
  buddy.freeRun(run, 11);
  buddy.freeRun(12, 4);
  assert.deepEqual(blocks(buddy), [[0, 4, true]]);
});
