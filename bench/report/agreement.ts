/** Whether two runs of one experiment came to the same: the ratios that it is about, side by side. */
import { centre } from "../centre.ts";
import { markdownTable, percent, plain } from "./markdown.ts";
import { numberOf, type Row } from "./table.ts";

export interface Ratio {
  readonly name: string;
  /** The centre of its rounds, of their logarithms: as many times more or less are as far away. NaN where none has one. */
  readonly value: number;
  readonly least: number;
  readonly most: number;
  readonly rounds: number;
  /** Rounds of both sides, beside those, in which a value is 0 or missing. */
  readonly without: number;
}

/** How the ratios of a page were made. */
export const RATIOS_TEXT =
  "Each round by itself; the median of the (geometric) means of all pairs of rounds, of fewer than 4 rounds their median; in " +
  "parentheses the least round and the most:";

/** Ratios of two runs differ by no more than this. */
export const AGREEMENT_MAX = 0.15;

/**
 * One side's values of a column by the other's, round by round: both were measured in one stretch of time. None where no
 * round has both sides.
 */
export function pairedRatio(
  name: string,
  ours: readonly Row[],
  theirs: readonly Row[],
  column: string,
): Ratio[] {
  const values = ours.flatMap((row) => {
    const other = theirs.find(({ round }) => round === row.round);
    return other === undefined ? [] : [numberOf(row, column) / numberOf(other, column)];
  });
  if (values.length === 0) return [];
  const real = values.filter((value) => Number.isFinite(value) && value > 0);
  return [{
    name,
    value: Math.exp(centre(real.map(Math.log))),
    least: real.length === 0 ? NaN : Math.min(...real),
    most: real.length === 0 ? NaN : Math.max(...real),
    rounds: real.length,
    without: values.length - real.length,
  }];
}

/** "1.52 (1.40 to 1.61)": the centre of the rounds, the least and the most. */
export function ratioText({ value, least, most, rounds, without }: Ratio): string {
  if (rounds === 0) return `none, a side has 0 or nothing in all ${without} rounds`;
  const left = without === 0 ? "" : `, without ${without} rounds in which a side has 0 or nothing`;
  return `${value.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)}${left})`;
}

/** The difference of two ratios, as a share of the smaller one. */
export function differenceOf(first: number, second: number): number {
  return Math.max(first, second) / Math.min(first, second) - 1;
}

export function agreementText(first: readonly Ratio[], second: readonly Ratio[]): string {
  const rows = first.map((ratio): Row => {
    const again = second.find(({ name }) => name === ratio.name);
    return {
      ...{ name: ratio.name, first: ratioText(ratio) },
      second: again === undefined ? "not measured" : ratioText(again),
      rounds: ratio.rounds,
      apart: differenceOf(ratio.value, again?.value ?? NaN),
    };
  });
  const near = rows.filter(({ apart }) => typeof apart === "number" && apart <= AGREEMENT_MAX).length;
  return [
    RATIOS_TEXT,
    "",
    markdownTable(rows, [
      plain("ratio", "name"),
      plain("rounds", "rounds"),
      plain("first run", "first"),
      plain("second run", "second"),
      percent("apart", "apart"),
    ]),
    "",
    `${near} of ${rows.length} ratios agree within ${100 * AGREEMENT_MAX} %.`,
  ].join("\n");
}
