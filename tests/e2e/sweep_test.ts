/** `eval --sweep` on the embedded model and a few questions: every cell is there, whole caches equal `eval`, and it goes on. */
import assert from "node:assert/strict";
import { cellName, cellsOfSweep, FULL } from "../../lib/cli/sweep/cells.ts";
import { SWEEP_FLAGS } from "../../lib/cli/sweep/flags.ts";
import { parseResults } from "../../lib/cli/sweep/results.ts";
import { sweep } from "../../lib/cli/sweep/sweep.ts";
import { parseFlags } from "../../lib/cli/parse.ts";
import { openModel } from "../../lib/model/directory.ts";

const MODEL = new URL("../../deploy/model", import.meta.url).pathname;

Deno.test({
  name:
    "a sweep asks every cell every question, goes on where it was stopped, and refuses other questions and weights",
  sanitizeResources: false,
  sanitizeOps: false,
  async fn() {
    const folder = await Deno.makeTempDir(), path = `${folder}/sweep.csv`;
    const run = async (questions: string, ...more: string[]) => {
      const args = [
        "--backend",
        "wasm",
        "--threads",
        "1",
        "--questions",
        questions,
        "--out",
        folder,
        ...more,
      ];
      await sweep(parseFlags(SWEEP_FLAGS, args, () => undefined).values, () => {});
      return parseResults(await Deno.readTextFile(path), path);
    };
    try {
      const rows = await run("4");
      // What the embedded model's compressor was trained for.
      const trained = (await openModel(MODEL)).compressors;
      for (const cell of [FULL, ...cellsOfSweep(trained)]) {
        const own = rows.filter((row) =>
          cellName(row.cell) === cellName(cell) && row.cell.factor === cell.factor &&
          row.cell.slots === cell.slots
        );
        const total = own.reduce((sum, { tally }) => sum + tally.questions, 0);
        assert.equal(total, 5, cellName(cell));
        for (const { tally } of own) {
          assert.equal(tally.right - tally.fullRight, tally.onlyCell - tally.onlyFull);
          assert.ok(
            cell !== FULL || (tally.sameText === tally.questions && tally.storedSlots === tally.promptSlots),
          );
        }
      }
      // As if it had been stopped behind its first cells.
      const text = await Deno.readTextFile(path), lines = text.split("\n");
      await Deno.writeTextFile(
        path,
        lines.slice(0, lines.findIndex((line) => line.startsWith("keydiff"))).join("\n"),
      );
      assert.deepEqual(sortedRows(await run("4")), sortedRows(rows));
      await assert.rejects(run("3"), /has results of 5 questions/);
      await assert.rejects(run("4", "--compressor", path), /results of another model or compressor/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

function sortedRows(rows: readonly unknown[]): string[] {
  return rows.map((row) => JSON.stringify(row)).sort();
}
