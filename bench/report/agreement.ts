/** Whether two runs of one experiment came to the same: the ratios that it is about, side by side. */
import { percentile } from "../percentile.ts";
import { markdownTable, percent, plain } from "./markdown.ts";
import { numberOf, type Row } from "./table.ts";

export interface Ratio {
  readonly name: string;
  /** The median of its rounds. */
  readonly value: number;
  readonly least: number;
  readonly most: number;
  readonly rounds: number;
}

/** Ratios of two runs differ by no more than this. */
export const AGREEMENT_MAX = 0.15;

/**
 * One side's values of a column by the other's, round by round: both were measured in one stretch of time. None where no
 * round has both.
 */
export function pairedRatio(
  name: string,
  ours: readonly Row[],
  theirs: readonly Row[],
  column: string,
): Ratio[] {
  const values = ours.flatMap((row) => {
    const other = theirs.find(({ round }) => round === row.round);
    const value = numberOf(row, column) / numberOf(other ?? {}, column);
    return Number.isFinite(value) && value > 0 ? [value] : [];
  });
  if (values.length === 0) return [];
  return [{
    name,
    value: percentile(values, 0.5),
    least: Math.min(...values),
    most: Math.max(...values),
    rounds: values.length,
  }];
}

/** "1.52 (1.40 to 1.61)": the median of the rounds, the least and the most. */
export function ratioText({ value, least, most }: Ratio): string {
  return `${value.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

/** The difference of two ratios, as a share of the smaller one. */
export function differenceOf(first: number, second: number): number {
  return Math.max(first, second) / Math.min(first, second) - 1;
}

export function agreementText(first: readonly Ratio[], second: readonly Ratio[]): string {
  const rows = first.flatMap((ratio): Row[] => {
    const { name } = ratio;
    const again = second.find((other) => other.name === name);
    if (again === undefined) return [];
    return [{
      ...{ name, first: ratioText(ratio), second: ratioText(again) },
      ...{ rounds: ratio.rounds, apart: differenceOf(ratio.value, again.value) },
    }];
  });
  const near = rows.filter(({ apart }) => typeof apart === "number" && apart <= AGREEMENT_MAX).length;
  return [
    markdownTable(rows, [
      plain("ratio", "name"),
      plain("rounds", "rounds"),
      plain("first run", "first"),
      plain("second run", "second"),
      percent("apart", "apart"),
    ]),
    "",
    `Medians of the rounds, in parentheses the least and the most: ${near} of ${rows.length} ratios agree within ${
      100 * AGREEMENT_MAX
    } %.`,
  ].join("\n");
}
