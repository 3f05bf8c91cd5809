import assert from "node:assert/strict";
import type { Cell } from "../../../../lib/cli/sweep/cells.ts";
import { sweepPage } from "../../../../lib/cli/sweep/page.ts";
import { formatResults, parseResults, SweepResults } from "../../../../lib/cli/sweep/results.ts";
import { emptyTally, type SweepRow } from "../../../../lib/cli/sweep/tally.ts";
import { StartError } from "../../../../lib/core/errors.ts";

const NONE: Cell = { method: "none", settings: {}, quantize: null, factor: 1, slots: "share" };
const SNAP: Cell = {
  method: "snapkv",
  settings: { window_size: 8 },
  quantize: null,
  factor: 5,
  slots: "share",
};
const PACKED: Cell = { ...NONE, quantize: "int4" };

function row(cell: Cell, type: string, questions: number, right: number): SweepRow {
  const full = { fullRight: questions, onlyFull: questions - right, sameText: right };
  const sizes = {
    promptSlots: 80 * questions,
    storedSlots: 16.5 * questions,
    promptBytes: 800,
    storedBytes: 165,
  };
  return { cell, type, tally: { ...emptyTally(), questions, right, ...full, ...sizes } };
}

const ROWS = [
  row(NONE, "exist", 10, 10),
  row(NONE, "multi_most", 5, 5),
  row(SNAP, "exist", 10, 9),
  row(SNAP, "multi_most", 5, 3),
  row(PACKED, "exist", 10, 10),
  row(PACKED, "multi_most", 5, 5),
];

Deno.test("results come back from their CSV as they were", () => {
  assert.deepEqual(parseResults(formatResults(ROWS), "sweep.csv"), ROWS);
});

Deno.test("parseResults refuses other files by name", () => {
  assert.throws(
    () => parseResults("a,b\n1,2\n", "other.csv"),
    (error) => error instanceof StartError && error.message.includes("other.csv"),
  );
});

Deno.test("SweepResults goes on with what the file has", () => {
  const folder = Deno.makeTempDirSync(), path = `${folder}/sweep.csv`;
  try {
    const first = new SweepResults(path);
    assert.equal(first.questions, null);
    first.append(ROWS.slice(0, 2));
    const second = new SweepResults(path);
    assert.deepEqual([second.has(NONE), second.has(SNAP), second.has(PACKED)], [true, false, false]);
    assert.equal(second.questions, 15);
    second.append(ROWS.slice(2));
    assert.deepEqual(new SweepResults(path).rows, ROWS);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("sweepPage shows right answers, the paired difference and what was stored", () => {
  const page = sweepPage(ROWS), lines = page.split("\n");
  assert.ok(page.includes("15 questions"));
  // 12 of 15 right: 3 less, ± 1.96 · √((3/15 − (3/15)²) / 15).
  assert.ok(lines.includes("| snapkv window_size=8 | 80.0 ± 20.2 |"), page);
  const cells = lines.find((line) => line.startsWith("| snapkv window_size=8 | 20.6 "))!.split(" | ");
  assert.deepEqual(cells.slice(1, 7), ["20.6", "20.6", "80.0", "−20.0 [−40.2, +0.2]", "80.0", "90.0"]);
  assert.ok(lines.some((line) => line.startsWith("| none int4 | 20.6 ")), page);
});

Deno.test("sweepPage shows every factor that there are results for, shares first", () => {
  const learned = (factor: number): Cell => ({ ...NONE, method: "learned", factor, slots: "learned" });
  const page = sweepPage([NONE, SNAP, learned(12), learned(4)].map((cell) => row(cell, "exist", 10, 8)));
  assert.ok(page.includes("| method | 1/5 % | as learned at 4 % | as learned at 12 % |"), page);
});
