/** Which cells of a table are long enough to tell a share of a bound or a 99th percentile. */
import { type Column, number } from "./markdown.ts";
import { numberOf, type Row } from "./table.ts";

/** The 99th percentile of fewer is among the last three of them, and the time after the last was due some percent. */
export const WHOLE_REQUESTS_MIN = 200;

/** Whether a cell was sent enough requests. */
export function isWhole(row: Row): boolean {
  return numberOf(row, "requests") >= WHOLE_REQUESTS_MIN;
}

/** Whether it also answered as many: a server beyond its capacity refuses some. */
export function isAnsweredWhole(row: Row): boolean {
  return numberOf(row, "answered") >= WHOLE_REQUESTS_MIN;
}

/** Marks a 99th percentile of fewer answers. */
const FEW = "*";
const FEW_TEXT = `${FEW}: of fewer than ${WHOLE_REQUESTS_MIN} answers, so among the last three of them.`;

/** Whether a row has a TTFT p99 that is marked. */
function isMarked(row: Row): boolean {
  return Number.isFinite(numberOf(row, "ttft_p99_ms")) && !isAnsweredWhole(row);
}

/** TTFT p99 with its mark. */
export function ttftTail(heading: string): Column {
  const { text } = number(heading, "ttft_p99_ms", 0);
  return { heading, text: (row) => isMarked(row) ? `${text(row)}${FEW}` : text(row) };
}

/** What the mark says, under a table that has it. */
export function markNotes(rows: readonly Row[]): string[] {
  return rows.some(isMarked) ? ["", FEW_TEXT] : [];
}
