/** Whether two runs of one experiment came to the same: the ratios that it is about, side by side. */
import { markdownTable, number, percent, plain } from "./markdown.ts";
import type { Row } from "./table.ts";

export interface Ratio {
  readonly name: string;
  readonly value: number;
}

/** Ratios of two runs differ by no more than this. */
export const AGREEMENT_MAX = 0.15;

/** One value by the other of two rows, if both are there. */
export function ratioOf(name: string, a: Row | undefined, b: Row | undefined, column: string): Ratio[] {
  const [above, below] = [a?.[column], b?.[column]];
  return typeof above === "number" && typeof below === "number" && below > 0
    ? [{ name, value: above / below }]
    : [];
}

/** The difference of two ratios, as a share of the smaller one. */
export function differenceOf(first: number, second: number): number {
  return Math.max(first, second) / Math.min(first, second) - 1;
}

export function agreementText(first: readonly Ratio[], second: readonly Ratio[]): string {
  const rows = first.flatMap(({ name, value }): Row[] => {
    const again = second.find((ratio) => ratio.name === name);
    if (again === undefined) return [];
    return [{ name, first: value, second: again.value, apart: differenceOf(value, again.value) }];
  });
  const near = rows.filter(({ apart }) => typeof apart === "number" && apart <= AGREEMENT_MAX).length;
  return [
    markdownTable(rows, [
      plain("ratio", "name"),
      number("first run", "first", 2),
      number("second run", "second", 2),
      percent("apart", "apart"),
    ]),
    "",
    `${near} of ${rows.length} ratios agree within ${100 * AGREEMENT_MAX} %.`,
  ].join("\n");
}
