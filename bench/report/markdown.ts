/** Tables and pages of Markdown. */
import type { Row } from "./table.ts";

/** A column: its heading, and how it is read from a row. */
export interface Column {
  readonly heading: string;
  readonly text: (row: Row) => string;
}

export function plain(heading: string, name: string): Column {
  return { heading, text: (row) => String(row[name] ?? "") };
}

/** A number with so many digits after the point; "–" where there is none. */
export function number(heading: string, name: string, digits = 1): Column {
  return {
    heading,
    text: (row) => {
      const value = row[name];
      return typeof value === "number" && Number.isFinite(value) ? value.toFixed(digits) : "–";
    },
  };
}

/** A share as per cent. */
export function percent(heading: string, name: string): Column {
  return {
    heading,
    text: (row) => {
      const value = row[name];
      return typeof value === "number" && Number.isFinite(value) ? `${(100 * value).toFixed(1)} %` : "–";
    },
  };
}

export function markdownTable(rows: readonly Row[], columns: readonly Column[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(columns.map(({ heading }) => heading)),
    line(columns.map(() => "---")),
    ...rows.map((row) => line(columns.map(({ text }) => text(row)))),
  ].join("\n");
}
