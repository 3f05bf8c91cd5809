import assert from "node:assert/strict";
import { truncateLeft } from "../../../bench/workloads/truncate.ts";
import { fragmentsOf } from "../../../bench/workloads/milebench_files.ts";

const words = (text: string) => text.split(/\s+/).filter((word) => word !== "").length;
const CONTEXT = "one two {image#1} three {image#2} four five {image#3} what now";

/** What is left, as text again. */
function cut(context: string, budget: number, imageTokens: number): string {
  return truncateLeft(fragmentsOf(context, String), budget, imageTokens, words)
    .map(({ text, image }) => text.trim() + (image === null ? "" : ` [${image}]`)).join(" ").trim();
}

Deno.test("fragmentsOf cuts a context at its pictures and tables", () => {
  assert.deepEqual(fragmentsOf("a {image#2}{table#1} b", (number) => number), [
    { text: "a ", image: 2 },
    { text: "", image: 1 },
    { text: " b", image: null },
  ]);
});

Deno.test("truncateLeft keeps a context that fits as it is", () => {
  assert.equal(cut(CONTEXT, 37, 10), "one two [1] three [2] four five [3] what now");
});

Deno.test("truncateLeft drops text and pictures from the left", () => {
  assert.equal(cut(CONTEXT, 36, 10), "[1] three [2] four five [3] what now");
  assert.equal(cut(CONTEXT, 34, 10), "three [2] four five [3] what now");
  assert.equal(cut(CONTEXT, 24, 10), "[2] four five [3] what now");
  assert.equal(cut(CONTEXT, 14, 10), "four five [3] what now");
  assert.equal(cut(CONTEXT, 12, 10), "[3] what now");
  assert.equal(cut(CONTEXT, 11, 10), "what now");
});

Deno.test("truncateLeft keeps the end of a last text that is too long", () => {
  assert.equal(cut("{image#1} alpha beta gamma delta", 2, 10), "gamma delta");
});
