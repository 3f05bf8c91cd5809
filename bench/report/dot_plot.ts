/** A panel a group side by side, a line a name in each, and on it a dot a series with its interval. */
import { LOOKS, SCHEMA, type Specification } from "./plots.ts";

export interface Dot {
  readonly panel: string;
  readonly name: string;
  readonly series: string;
  /** Shares. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface DotPlot {
  readonly title: string;
  readonly dots: readonly Dot[];
  /** Panels and names, in their order. */
  readonly panels: readonly string[];
  readonly names: readonly string[];
  readonly series: { readonly title: string; readonly names: readonly string[] };
  /** Of the values. */
  readonly axis: string;
  /** A vertical line through all panels, by series. */
  readonly marks: readonly { readonly series: string; readonly value: number }[];
}

const COLOURS = ["#000000", "#D55E00", "#0072B2", "#009E73"];
const LINE_HEIGHT = 18;
const PANEL_WIDTH = 190;
/** Panels in a row. */
const COLUMNS = 4;

export function dotPlot({ title, dots, panels, names, series, axis, marks }: DotPlot): Specification {
  const colour = {
    field: "series",
    type: "nominal",
    title: series.title,
    sort: series.names,
    scale: { domain: series.names, range: COLOURS },
  };
  const along = (field: string) => ({
    field,
    type: "quantitative",
    title: axis,
    axis: { format: ".0%" },
    scale: { domain: [0, 1] },
  });
  return {
    $schema: SCHEMA,
    ...LOOKS,
    title,
    spacing: 16,
    columns: COLUMNS,
    concat: panels.map((panel, index) => {
      const y = {
        field: "name",
        type: "nominal",
        title: null,
        sort: names,
        // Every panel has every name, so that the labels of a row's first panel are right for all.
        scale: { domain: names },
        axis: { labels: index % COLUMNS === 0, ticks: false, grid: true, domain: false, labelLimit: 320 },
      };
      return {
        title: panel,
        width: PANEL_WIDTH,
        height: LINE_HEIGHT * names.length,
        data: { values: dots.filter((dot) => dot.panel === panel) },
        layer: [
          {
            data: { values: marks },
            mark: { type: "rule", strokeDash: [4, 3] },
            encoding: { x: along("value"), color: colour },
          },
          {
            mark: { type: "rule", strokeWidth: 1.5 },
            encoding: { y, x: along("low"), x2: { field: "high" }, color: colour },
          },
          {
            mark: { type: "point", filled: true, size: 45, opacity: 1 },
            encoding: { y, x: along("value"), color: colour },
          },
        ],
      };
    }),
  };
}
