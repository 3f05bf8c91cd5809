import assert from "node:assert/strict";
import {
  captionScore,
  choiceScore,
  chosenLetters,
  equals,
  gqaScore,
  needleScore,
  plainText,
  rougeL,
  rougeScore,
  substringScore,
} from "../../../bench/workloads/scoring.ts";

Deno.test("equals takes the whole answer apart from capitals, spaces and final punctuation", () => {
  assert.equal(equals("a red star")("  A red   star."), 1);
  assert.equal(equals("a red star")("a red star at the top"), 0);
});

Deno.test("captionScore counts the parts at their place", () => {
  const score = captionScore("a red star at the top, a blue circle on the left");
  assert.equal(score("A red star at the top, a blue circle on the left."), 1);
  assert.equal(score("a red star at the top, a pink circle on the left"), 0.5);
  assert.equal(score("a red star at the top"), 0.5);
  assert.equal(score("a blue circle on the left, a red star at the top"), 0);
  assert.equal(score("a red star at the top, a blue circle on the left, a cross, a cross"), 0.5);
});

Deno.test("gqaScore drops a final full stop and capitals and nothing else", () => {
  assert.equal(gqaScore("dark blue")("Dark blue."), 1);
  assert.equal(gqaScore("dark blue")("blue"), 0);
  assert.equal(gqaScore("yes")("yes, it is"), 0);
});

Deno.test("plainText removes a mark beside a space and turns one between letters into a space", () => {
  assert.equal(plainText("It's  well-known; so, yes!"), "it's  well known so yes");
  assert.equal(plainText("$1,234.50"), "$1234.50");
  assert.equal(plainText("The end."), "the end");
  assert.equal(plainText("'quoted'"), "quoted");
  assert.equal(plainText("one\ntwo\tthree"), "one two three");
});

Deno.test("rougeL is the balanced F of the longest common subsequence", () => {
  const words = (text: string) => text.split(" ");
  // the cat sat (3) of 6 said and 4 expected words.
  assert.equal(rougeL(words("the black cat sat down here"), words("the cat sat there")), 2 * 3 / 10);
  assert.equal(rougeL(words("b a"), words("a b")), 0.5);
  assert.equal(rougeL([], words("a")), 0);
  assert.equal(rougeScore("The bus is white.")("the bus is white"), 1);
});

Deno.test("needleScore wants the needle as a word, substringScore anywhere", () => {
  assert.equal(needleScore("4711")("It is 4711."), 1);
  assert.equal(needleScore("4711")("It is 47110."), 0);
  assert.equal(substringScore("York")("New Yorkers"), 1);
  assert.equal(substringScore("York")("London"), 0);
});

Deno.test("chosenLetters tries letter and text, then text without spaces, then letters, and nothing is C", () => {
  const choices = ["opened the door", "washed the dish", "sat down"];
  assert.equal(chosenLetters("b washed the dish", choices), "B");
  assert.equal(chosenLetters("they sat  down", choices), "C");
  assert.equal(chosenLetters("a", choices), "A");
  assert.equal(chosenLetters("", choices), "C");
  assert.equal(chosenLetters("xyz", choices), "");
  // Two letters are no choice.
  assert.equal(chosenLetters("a or b", choices), "AB");
});

Deno.test("choiceScore compares the letter that was meant with the right one", () => {
  const score = choiceScore("Washed the dish.", ["Opened the door.", "Washed the dish.", "Sat down."]);
  assert.equal(score("B. Washed the dish."), 1);
  assert.equal(score("The person washed the dish"), 1);
  assert.equal(score("B"), 1);
  assert.equal(score("A. Opened the door."), 0);
  assert.equal(score(""), 0);
});
