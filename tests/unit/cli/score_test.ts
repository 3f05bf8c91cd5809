import assert from "node:assert/strict";
import { accuracyTable, judge, normalAnswer, type Question, spread } from "../../../lib/cli/score.ts";

function question(type: string, answer: string): Question {
  return { id: "q", images: [], question: "?", answer, type };
}

Deno.test("normalAnswer ignores case, outer space, final punctuation and repeated spaces", () => {
  assert.equal(normalAnswer("  A  red\nStar. "), "a red star");
  assert.equal(normalAnswer("Yes?!."), "yes");
  assert.equal(normalAnswer("2.5"), "2.5");
});

Deno.test("judge compares normal forms of the whole answer", () => {
  assert.equal(judge(question("exist", "yes"), "Yes.").correct, true);
  assert.equal(judge(question("exist", "yes"), "yes, there is").correct, false);
});

Deno.test("accuracyTable groups by type, then by one and several pictures, then all", () => {
  const answers = [
    judge(question("exist", "yes"), "yes"),
    judge(question("exist", "no"), "yes"),
    judge(question("multi_most", "2"), "2"),
  ];
  const rows = accuracyTable(answers).split("\n").map((line) => line.trim().split(/\s{2,}/));
  assert.deepEqual(rows, [
    ["type", "accuracy", "right", "n"],
    ["exist", "50.0%", "1", "2"],
    ["multi_most", "100.0%", "1", "1"],
    ["one picture", "50.0%", "1", "2"],
    ["several pictures", "100.0%", "1", "1"],
    ["all", "66.7%", "2", "3"],
  ]);
});

Deno.test("spread takes every n-th and everything without a limit", () => {
  const all = Array.from({ length: 602 }, (_, index) => index);
  assert.equal(spread(all, null).length, 602);
  assert.deepEqual(spread(all, 60).slice(0, 3), [0, 10, 20]);
  assert.deepEqual(spread([1, 2], 10), [1, 2]);
});
