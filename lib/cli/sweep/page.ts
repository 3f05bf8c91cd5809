/** The results of a sweep as a page of Markdown. */
import { type Cell, cellName } from "./cells.ts";
import { ofSeveral, pairedDifference, sumOf, type SweepRow, type Tally } from "./tally.ts";

/** A cell with its counts by kind of question, in the order they were asked. */
export interface CellRow {
  readonly cell: Cell;
  readonly name: string;
  readonly types: ReadonlyMap<string, Tally>;
  readonly all: Tally;
}

/** Rows of the CSV, a cell each. */
export function cellRows(rows: readonly SweepRow[]): CellRow[] {
  const groups = Map.groupBy(rows, ({ cell }) => `${cellName(cell)} ${cell.factor} ${cell.slots}`);
  return [...groups.values()].map((group) => {
    const types = new Map(group.map(({ type, tally }) => [type, tally]));
    return { cell: group[0].cell, name: cellName(group[0].cell), types, all: sumOf([...types.values()]) };
  });
}

/** Best first, the whole cache before all. */
export function sorted(rows: readonly CellRow[]): CellRow[] {
  const isFull = ({ name }: CellRow) => Number(name === "none");
  return rows.toSorted((a, b) => isFull(b) - isFull(a) || b.all.right - a.all.right);
}

const percent = (part: number, whole: number) => whole === 0 ? "" : `${(100 * part / whole).toFixed(1)}`;
const rightOf = (tally: Tally) => percent(tally.right, tally.questions);
const signed = (share: number) => `${share < 0 ? "−" : "+"}${(100 * Math.abs(share)).toFixed(1)}`;

function differenceOf(tally: Tally): string {
  const { mean, half } = pairedDifference(tally);
  return `${signed(mean)} [${signed(mean - half)}, ${signed(mean + half)}]`;
}

function group(types: ReadonlyMap<string, Tally>, several: boolean): Tally {
  return sumOf([...types].filter(([type]) => ofSeveral(type) === several).map(([, tally]) => tally));
}

function tableOf(heading: readonly string[], lines: readonly (readonly string[])[]): string {
  return [heading, heading.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/** One table of a size: methods, best first, by kind of question. */
function factorTable(rows: readonly CellRow[]): string {
  const types = [...rows[0].types.keys()];
  const several = types.filter(ofSeveral), single = types.filter((type) => !ofSeveral(type));
  const countOf = (type: string) => rows[0].types.get(type)!.questions;
  const heading = [
    ...["method", "slots stored %", "bytes %", "right %", "less than the whole cache [95 %]", "same text %"],
    ...["one picture %", ...single.map((type) => `${type} (${countOf(type)})`)],
    ...["several %", ...several.map((type) => `${type.replace("multi_", "")} (${countOf(type)})`)],
  ];
  const lines = sorted(rows).map(({ name, types: own, all }) => {
    const of = (type: string) => rightOf(own.get(type)!);
    return [
      ...[name, percent(all.storedSlots, all.promptSlots), percent(all.storedBytes, all.promptBytes)],
      ...[rightOf(all), name === "none" ? "" : differenceOf(all), percent(all.sameText, all.questions)],
      ...[rightOf(group(own, false)), ...single.map(of), rightOf(group(own, true)), ...several.map(of)],
    ];
  });
  return tableOf(heading, lines);
}

/** A kept size: one slot of `factor`, or what the learned method stores at it. */
export type Size = Pick<Cell, "factor" | "slots">;

/** Sizes that there are results for, shares first, then by factor. */
export function sizesOf(rows: readonly CellRow[]): Size[] {
  return (["share", "learned"] as const).flatMap((slots) => {
    const own = rows.filter(({ cell }) => cell.slots === slots && cell.factor > 1);
    const factors = new Set(own.map(({ cell }) => cell.factor));
    return [...factors].sort((a, b) => a - b).map((factor) => ({ factor, slots }));
  });
}

/** "1/5", or "as learned at 5". */
export function sizeName({ factor, slots }: Size): string {
  return slots === "share" ? `1/${factor}` : `as learned at ${factor}`;
}

export function rowsAt(rows: readonly CellRow[], { factor, slots }: Size): CellRow[] {
  return rows.filter(({ cell }) => cell.factor === factor && cell.slots === slots);
}

/** Right answers by method and size, with half the width of the difference's interval. */
function sizeTable(rows: readonly CellRow[], sizes: readonly Size[]): string {
  const names = [...new Set(sorted(rows.filter(({ cell }) => cell.factor > 1)).map(({ name }) => name))];
  const lines = names.map((name) => [
    name,
    ...sizes.map((size) => {
      const row = rowsAt(rows, size).find((one) => one.name === name);
      if (row === undefined) return "";
      return `${rightOf(row.all)} ± ${(100 * pairedDifference(row.all).half).toFixed(1)}`;
    }),
  ]);
  return tableOf(["method", ...sizes.map((size) => `${sizeName(size)} %`)], lines);
}

/** Needs the results of the whole cache. */
export function sweepPage(all: readonly SweepRow[]): string {
  const rows = cellRows(all);
  const full = rows.find(({ name }) => name === "none")!;
  const sizes = sizesOf(rows);
  const whole = rows.filter(({ cell }) => cell.factor === 1);
  return [
    "# Right answers by compression method and kept share",
    "",
    `${full.all.questions} questions, greedy, right when the whole answer equals the reference; ` +
    `the whole cache is right for ${rightOf(full.all)} %. ` +
    "At one size all methods may store equally many slots of a prompt: a share, or what the learned method stores " +
    "at a factor, whose groups leave rests; what they stored is in the tables. " +
    "± and [ ] are the 95 % interval of the paired difference to the whole cache. The first token is sampled " +
    "before the cache is compressed, so answers of one word hardly change.",
    "",
    sizeTable(rows, sizes),
    ...sizes.flatMap((size) => [
      ...["", `## Slots kept: ${sizeName(size)}`, ""],
      factorTable([full, ...rowsAt(rows, size)]),
    ]),
    ...(whole.length === 1 ? [] : ["", "## All slots kept, in fewer bits", "", factorTable(whole)]),
    "",
  ].join("\n");
}
