/** Plots as Vega-Lite specifications, and SVG files of them. */
import { fileURLToPath } from "node:url";
import { coloursOf } from "./colours.ts";
import { numberOf, type Row } from "./table.ts";

export interface Axis {
  readonly field: string;
  /** With its unit. */
  readonly title: string;
  readonly log?: boolean;
  /** Shown as per cent. */
  readonly share?: boolean;
}

export interface LinePlot {
  readonly name: string;
  readonly title: string;
  readonly rows: readonly Row[];
  readonly x: Axis;
  /** One panel each, two in a row. */
  readonly y: readonly Axis[];
  readonly series: { readonly field: string; readonly title: string };
  /** Marks on the lines, where the points were measured apart; true if left out. */
  readonly points?: boolean;
}

/** A specification in Vega-Lite's own words; `vega-lite` itself checks it when it draws. */
export type Specification = Readonly<Record<string, unknown>>;

const PANEL = { width: 300, height: 240 };
export const SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json";

function scaleOf(axis: Axis): Specification {
  return axis.log === true ? { type: "log" } : { type: "linear", zero: true };
}

/** Linear axes choose their own format; another one would have them write 2e+2. */
function axisOf({ log, share }: Axis): Specification {
  if (share === true) return { format: ".0%" };
  return log === true ? { format: "~g", tickCount: 6 } : {};
}

/** A logarithmic axis below the points has a tick at each of them, no more: they were chosen, not found. */
function alongOf(axis: Axis, values: readonly number[]): { scale: Specification; axis: Specification } {
  if (axis.log !== true) {
    return { scale: { type: "linear", zero: true }, axis: { grid: false } };
  }
  const ticks = [...new Set(values)].sort((a, b) => a - b);
  return {
    scale: { type: "log", nice: false, padding: 10 },
    axis: { values: ticks, format: "~g", grid: false, labelOverlap: false },
  };
}

function panel(plot: LinePlot, y: Axis, names: readonly string[]): Specification {
  const { x, series, rows } = plot;
  const values = rows.map((row) => ({
    x: numberOf(row, x.field),
    y: numberOf(row, y.field),
    series: String(row[series.field]),
  })).filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y) && !(y.log && point.y <= 0));
  return {
    ...PANEL,
    data: { values },
    mark: { type: "line", point: plot.points === false ? false : { size: 45 }, strokeWidth: 2 },
    encoding: {
      x: { field: "x", type: "quantitative", title: x.title, ...alongOf(x, values.map((point) => point.x)) },
      y: { field: "y", type: "quantitative", title: y.title, scale: scaleOf(y), axis: axisOf(y) },
      color: {
        field: "series",
        type: "nominal",
        title: series.title,
        sort: names,
        scale: { domain: names, range: coloursOf(names) },
        legend: { symbolType: "stroke", symbolStrokeWidth: 4, symbolSize: 220 },
      },
    },
  };
}

export const LOOKS = {
  background: "white",
  config: {
    font: "sans-serif",
    axis: { labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal", gridColor: "#e6e6e6" },
    // Limits of 0: names are shown whole.
    legend: { labelFontSize: 12, titleFontSize: 13, symbolStrokeWidth: 3, labelLimit: 0, titleLimit: 0 },
    title: { fontSize: 14, anchor: "start", fontWeight: "normal" },
    view: { stroke: null },
  },
};

/** Characters that fit side by side under a panel. */
const LABEL_CHARACTERS_MAX = 32;
/** Panels in a row. */
const COLUMNS = 2;

export function linePlot(plot: LinePlot): Specification {
  const names = [...new Set(plot.rows.map((row) => String(row[plot.series.field])))];
  return {
    $schema: SCHEMA,
    ...LOOKS,
    title: plot.title,
    concat: plot.y.map((y) => panel(plot, y, names)),
    columns: COLUMNS,
    // Each as wide as it is: the legend stands beside the last one only.
    align: "none",
    spacing: 30,
  };
}

export interface BarPlot {
  readonly name: string;
  readonly title: string;
  readonly rows: readonly Row[];
  /** Groups along the axis. */
  readonly group: { readonly field: string; readonly title: string };
  readonly y: readonly Axis[];
  readonly series: { readonly field: string; readonly title: string };
}

export function barPlot({ title, rows, group, y: axes, series }: BarPlot): Specification {
  const names = [...new Set(rows.map((row) => String(row[series.field])))];
  const groups = [...new Set(rows.map((row) => String(row[group.field])))];
  // Names that would run into each other stand aslant.
  const labelAngle = groups.join("").length > LABEL_CHARACTERS_MAX ? -35 : 0;
  return {
    $schema: SCHEMA,
    ...LOOKS,
    title,
    spacing: 30,
    columns: COLUMNS,
    align: "none",
    concat: axes.map((y) => ({
      ...PANEL,
      data: {
        values: rows.map((row) => ({
          group: String(row[group.field]),
          y: numberOf(row, y.field),
          series: String(row[series.field]),
        })),
      },
      mark: { type: "bar" },
      encoding: {
        x: {
          field: "group",
          type: "nominal",
          title: group.title,
          sort: null,
          axis: { labelAngle, labelLimit: 0 },
        },
        xOffset: { field: "series", sort: names },
        y: { field: "y", type: "quantitative", title: y.title, axis: axisOf(y) },
        color: {
          field: "series",
          type: "nominal",
          title: series.title,
          sort: names,
          scale: { domain: names, range: coloursOf(names) },
        },
      },
    })),
  };
}

/** Draws in another process, which alone has the drawing library. Throws with what it said. */
export async function writePlots(
  plots: readonly { readonly path: string; readonly spec: Specification }[],
): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-prompt", fileURLToPath(new URL("../svg/main.ts", import.meta.url))],
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const said = new Response(child.stderr).text();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(plots)));
  await writer.close();
  const { code } = await child.status;
  if (code !== 0) throw new Error(`cannot draw the plots: ${await said}`);
  await said;
}
