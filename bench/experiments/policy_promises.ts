/** What the page of the policies says beside its table: how near dynamic came to the bound, and what happens beyond it. */
import { number, percent } from "../report/markdown.ts";
import { numberOf, type Row } from "../report/table.ts";
import { ttftTail, WHOLE_REQUESTS_MIN } from "../report/tail.ts";

/** What dynamic has to come to of the bound. */
const BOUND_SHARE_MIN = 0.9;

const loadsOf = (rows: readonly Row[]) => rows.map(({ load }) => `${load}x`).join(", ");

/** `own`: dynamic's rows, one a load. */
export function boundLine(own: readonly Row[]): string {
  const told = own.filter((row) => Number.isFinite(numberOf(row, "of_bound")));
  const untold = own.filter((row) => !told.includes(row));
  const why = `cells of fewer than ${WHOLE_REQUESTS_MIN} requests`;
  if (told.length === 0) return `How near dynamic came to the bound is not told: ${why}.`;
  const shares = told.map((row) => `${(100 * numberOf(row, "of_bound")).toFixed(1)} % at ${row.load}x`);
  const kept = told.every((row) => numberOf(row, "of_bound") >= BOUND_SHARE_MIN);
  const where = untold.length === 0 ? "everywhere" : `at ${told.length === 1 ? "this load" : "all of these"}`;
  const rest = untold.length === 0 ? "" : ` At ${loadsOf(untold)} it is not told: ${why}.`;
  return `dynamic came to ${shares.join(", ")} of the bound: ${kept ? "" : "not "}${where} ${
    100 * BOUND_SHARE_MIN
  } % and more.${rest}`;
}

function beyondText(row: Row): string {
  const codes = row.codes === undefined || row.codes === "" ? "" : ` (${row.codes})`;
  return `${number("", "requests_per_s").text(row)} answered/s, ${
    number("", "goodput_per_s").text(row)
  } of them inside the targets, ${percent("", "refused_share").text(row)} refused${codes}, TTFT p99 of the ${
    number("", "answered", 0).text(row)
  } answered ${ttftTail("").text(row)} ms`;
}

/** What dynamic did far above the capacity, and the baseline at the highest load; none where there is no such load. */
export function beyondLines(
  rows: readonly Row[],
  { baseline, waitingMax }: { readonly baseline: string; readonly waitingMax: number },
): string[] {
  const own = rows.filter((row) => row.policy === "dynamic" && numberOf(row, "load") > 1).toReversed();
  const most = own.at(0);
  if (most === undefined) return [];
  const theirs = rows.filter((row) => row.policy === baseline && row.load === most.load);
  const waitMs = 1000 * waitingMax / numberOf(most, "requests_per_s");
  const lines = [...own.slice(0, 2), ...theirs].map((row) =>
    `- ${row.policy} at ${row.load}x: ${beyondText(row)}`
  );
  return [
    `What happens beyond the capacity, where at most ${waitingMax} requests may wait:`,
    "",
    `${lines.join(";\n")}.`,
    "",
    `${waitingMax} that wait are ${
      waitMs.toFixed(0)
    } ms of what dynamic answers at ${most.load}x: TTFT cannot grow far ` +
    "beyond that, however much is offered.",
  ];
}
