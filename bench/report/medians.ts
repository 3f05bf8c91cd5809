/** Several rounds of one measurement as one row. */
import { percentile } from "../percentile.ts";
import type { Row } from "./table.ts";

/** Rows that agree in `keys` become one: the median of each column of numbers, the first of each column of text. */
export function medians(rows: readonly Row[], keys: readonly string[]): Row[] {
  const groups = Map.groupBy(rows, (row) => JSON.stringify(keys.map((key) => row[key])));
  return [...groups.values()].map((rounds) => {
    const names = [...new Set(rounds.flatMap((row) => Object.keys(row)))];
    const columns = names.map((name): [string, string | number] => {
      const values = rounds.map((row) => row[name]).filter((value) => typeof value === "number");
      if (values.length === 0) return [name, rounds[0][name] ?? ""];
      return [name, percentile(values.filter(Number.isFinite), 0.5)];
    });
    return { ...Object.fromEntries(columns), rounds: rounds.length };
  });
}
