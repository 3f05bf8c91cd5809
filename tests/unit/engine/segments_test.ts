import assert from "node:assert/strict";
import { keptByLearned, segmentsOf } from "../../../lib/engine/compress/segments.ts";

const FACTS = { text: 5, image: 5, minGroups: 2 };

Deno.test("segmentsOf cuts a prompt at its pictures and leaves segments of fewer than two groups alone", () => {
  const images = [{ first: 5, count: 64 }, { first: 74, count: 64 }];
  assert.deepEqual(segmentsOf(150, images, FACTS), [
    { kind: "text", first: 0, slots: 5, groups: 0, factor: 5 },
    { kind: "image", first: 5, slots: 64, groups: 12, factor: 5 },
    { kind: "text", first: 69, slots: 5, groups: 0, factor: 5 },
    { kind: "image", first: 74, slots: 64, groups: 12, factor: 5 },
    { kind: "text", first: 138, slots: 12, groups: 2, factor: 5 },
  ]);
});

Deno.test("segmentsOf joins pictures that touch and leaves pictures alone without networks for them", () => {
  const images = [{ first: 0, count: 7 }, { first: 7, count: 7 }];
  assert.deepEqual(segmentsOf(14, images, FACTS), [
    { kind: "image", first: 0, slots: 14, groups: 2, factor: 5 },
  ]);
  assert.deepEqual(segmentsOf(14, images, { ...FACTS, image: 1 }), [
    { kind: "image", first: 0, slots: 14, groups: 0, factor: 1 },
  ]);
});

Deno.test("segmentsOf asserts that pictures lie in the prompt and in order", () => {
  assert.throws(() => segmentsOf(10, [{ first: 4, count: 7 }], FACTS), /lie in the prompt/);
  assert.throws(
    () => segmentsOf(20, [{ first: 4, count: 7 }, { first: 6, count: 7 }], FACTS),
    /follow each other/,
  );
});

Deno.test("keptByLearned adds groups, remainders and what is left alone", () => {
  assert.equal(keptByLearned(81, [{ first: 5, count: 64 }], FACTS), 5 + 12 + 4 + 2 + 2);
  assert.equal(keptByLearned(9, [], FACTS), 9);
  assert.equal(keptByLearned(10, [], FACTS), 2);
  const images = [{ first: 5, count: 64 }];
  assert.equal(keptByLearned(81, images, { text: 4, image: 32, minGroups: 2 }), 5 + 2 + 3);
  assert.equal(
    keptByLearned(81, images, { text: 1, image: 33, minGroups: 2 }),
    81,
    "one group of 33 and a rest",
  );
});
