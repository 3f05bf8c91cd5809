/**
 * `deno run -A bench/sweep_plot.ts DIR`: draws DIR/sweep.svg from the sweep.csv that `deno task eval --sweep --out DIR` wrote, and
 * shows it at the end of DIR/sweep.md.
 */
import { type CellRow, cellRows, sizeName, sizesOf, sorted } from "../lib/cli/sweep/page.ts";
import { parseResults } from "../lib/cli/sweep/results.ts";
import { ofSeveral, pairedDifference, sumOf, type Tally } from "../lib/cli/sweep/tally.ts";
import { type Dot, dotPlot } from "./report/dot_plot.ts";
import { writePlots } from "./report/plots.ts";

/** Questions by what a method can lose: one word of the answer is sampled before the cache is compressed. */
const KINDS: readonly { readonly name: string; readonly has: (type: string) => boolean }[] = [
  { name: "all", has: () => true },
  { name: "one picture", has: (type) => !ofSeveral(type) },
  { name: "several pictures", has: ofSeveral },
  { name: "describe", has: (type) => type === "caption" },
];

function ofKind({ types }: CellRow, kind: typeof KINDS[number]): Tally {
  return sumOf([...types].filter(([type]) => kind.has(type)).map(([, tally]) => tally));
}

const share = ({ right, questions }: Tally) => right / questions;

const [folder] = Deno.args;
if (folder === undefined) {
  console.error("usage: deno run -A bench/sweep_plot.ts DIR");
  Deno.exit(2);
}
const path = `${folder}/sweep.csv`;
const rows = cellRows(parseResults(Deno.readTextFileSync(path), path));
const full = rows.find(({ name }) => name === "none")!;
const compared = rows.filter(({ cell }) => cell.factor > 1);
const dots = compared.flatMap((row) =>
  KINDS.map((kind): Dot => {
    const tally = ofKind(row, kind), value = share(tally), { half } = pairedDifference(tally);
    return {
      ...{ panel: sizeName(row.cell), name: row.name, series: kind.name, value },
      low: Math.max(0, value - half),
      high: Math.min(1, value + half),
    };
  })
);
const spec = dotPlot({
  title: `Right answers by method and kept share, ${full.all.questions} questions; dashed: the whole cache`,
  dots,
  panels: sizesOf(compared).map(sizeName),
  names: [...new Set(sorted(compared).map(({ name }) => name))],
  series: { title: "questions", names: KINDS.map(({ name }) => name) },
  axis: "right",
  marks: KINDS.map((kind) => ({ series: kind.name, value: share(ofKind(full, kind)) })),
});
await writePlots([{ path: `${folder}/sweep.svg`, spec }]);
const page = `${folder}/sweep.md`, text = Deno.readTextFileSync(page), picture = "\n![sweep](sweep.svg)\n";
if (!text.endsWith(picture)) Deno.writeTextFileSync(page, text + picture);
