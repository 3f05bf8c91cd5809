/** Results as CSV: a row a measurement, appended as soon as it is there, read again by a run that goes on. */

export type Row = Readonly<Record<string, string | number>>;

function field(value: string | number): string {
  const text = typeof value === "number" && Number.isNaN(value) ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function parseLine(line: string): string[] {
  return [...`,${line}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((match) =>
    match[1]?.replaceAll('""', '"') ?? match[2]
  );
}

/** Numbers come back as numbers, an empty field as NaN only where a number is asked for. */
export function parseCsv(text: string): Row[] {
  const [header, ...lines] = text.split("\n").filter((line) => line !== "");
  if (header === undefined) return [];
  const names = parseLine(header);
  return lines.map((line) => {
    const fields = parseLine(line);
    return Object.fromEntries(names.map((name, i) => {
      const value = fields[i] ?? "";
      return [name, value !== "" && Number.isFinite(Number(value)) ? Number(value) : value];
    }));
  });
}

export function formatCsv(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return [names, ...rows.map((row) => names.map((name) => row[name] ?? ""))]
    .map((fields) => fields.map(field).join(",")).join("\n") + "\n";
}

/** A number of a row; NaN where there is none. */
export function numberOf(row: Row, name: string): number {
  const value = row[name];
  return typeof value === "number" ? value : NaN;
}

/** Ends the name of a cell that was interrupted. */
const STOPPED = " (stopped)";

/** Rows of one file. Each has a `cell`: the name of what was measured, by which a run that goes on skips it. */
export class ResultTable {
  readonly #rows: Row[];

  constructor(private readonly path: string, resume: boolean) {
    this.#rows = resume ? readRows(path) : [];
  }

  /** Those that were not interrupted. */
  get rows(): readonly Row[] {
    return this.#rows.filter(({ cell }) => !String(cell).endsWith(STOPPED));
  }

  find(cell: string): Row | undefined {
    return this.#rows.find((row) => row.cell === cell);
  }

  /** The file is written whole: a later row may have columns that the first had not. */
  append(row: Row): void {
    this.#rows.push(row);
    const half = `${this.path}.part`;
    Deno.writeTextFileSync(half, formatCsv(this.#rows));
    Deno.renameSync(half, this.path);
  }
}

/** As `row`, but of an interrupted cell: seen in the file, in no report, and measured again by a run that goes on. */
export function stopped(row: Row): Row {
  return { ...row, cell: `${row.cell}${STOPPED}` };
}

function readRows(path: string): Row[] {
  try {
    return parseCsv(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
