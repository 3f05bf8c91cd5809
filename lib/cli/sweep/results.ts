/** The results of a sweep as a CSV file: a row a cell and kind of question, read again by a sweep that goes on. */
import { StartError } from "../../core/errors.ts";
import { METHOD_NAMES } from "../../engine/compress/method.ts";
import { type Cell, cellName } from "./cells.ts";
import { emptyTally, type SweepRow, TALLY_FIELDS } from "./tally.ts";

const CELL_FIELDS = ["method", "settings", "quantize", "factor", "slots", "type"] as const;

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** No field has a comma or a quotation mark. */
export function formatResults(rows: readonly SweepRow[]): string {
  const lines = rows.map(({ cell, type, tally }) => {
    const settings = Object.entries(cell.settings).map(([name, value]) => `${name}=${value}`).join(" ");
    return [
      ...[cell.method, settings, cell.quantize ?? "", cell.factor, cell.slots, type],
      ...TALLY_FIELDS.map((field) => Number(tally[field].toFixed(2))),
    ].join(",");
  });
  return [[...CELL_FIELDS, ...TALLY_FIELDS.map(snake)].join(","), ...lines, ""].join("\n");
}

/** Throws StartError for a file that {@link formatResults} did not write. */
export function parseResults(text: string, path: string): SweepRow[] {
  const [header, ...lines] = text.split("\n").filter((line) => line !== "");
  const names = header?.split(",") ?? [];
  const expected = [...CELL_FIELDS, ...TALLY_FIELDS.map(snake)];
  if (names.join() !== expected.join()) throw new StartError(`${path} holds no results of a sweep`);
  return lines.map((line) => {
    const fields = line.split(",");
    const [name, settings, quantize, factor, slots, type] = fields;
    const method = METHOD_NAMES.find((known) => known === name);
    if (method === undefined) throw new StartError(`${path} has results of an unknown method ${name}`);
    const tally = emptyTally();
    for (const [i, field] of TALLY_FIELDS.entries()) tally[field] = Number(fields[CELL_FIELDS.length + i]);
    const cell: Cell = {
      method,
      settings: Object.fromEntries(
        settings.split(" ").filter((part) => part !== "").map((part) => {
          const [key, value] = part.split("=");
          return [key, Number(value)];
        }),
      ),
      quantize: quantize === "int8" || quantize === "int4" ? quantize : null,
      factor: Number(factor),
      slots: slots === "learned" ? "learned" : "share",
    };
    return { cell, type, tally };
  });
}

function keyOf(cell: Cell): string {
  return `${cellName(cell)} ${cell.factor} ${cell.slots}`;
}

export class SweepResults {
  readonly #path: string;
  readonly #rows: SweepRow[];

  /** Goes on with what is in the file. Throws StartError when it cannot be read. */
  constructor(path: string) {
    this.#path = path;
    this.#rows = readRows(path);
  }

  get rows(): readonly SweepRow[] {
    return this.#rows;
  }

  has(cell: Cell): boolean {
    return this.#rows.some((row) => keyOf(row.cell) === keyOf(cell));
  }

  /** The questions that every cell so far was asked; null before the first. */
  get questions(): number | null {
    if (this.#rows.length === 0) return null;
    const first = keyOf(this.#rows[0].cell);
    return this.#rows.reduce(
      (sum, { cell, tally }) => sum + (keyOf(cell) === first ? tally.questions : 0),
      0,
    );
  }

  /** The file is replaced as a whole, so that no half row is ever in it. */
  append(rows: readonly SweepRow[]): void {
    this.#rows.push(...rows);
    Deno.writeTextFileSync(`${this.#path}.part`, formatResults(this.#rows));
    Deno.renameSync(`${this.#path}.part`, this.#path);
  }
}

function readRows(path: string): SweepRow[] {
  try {
    return parseResults(Deno.readTextFileSync(path), path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
