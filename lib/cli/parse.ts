/** Command line and environment into values, by a table of flags. The command line wins over the environment. */
import { parseArgs } from "node:util";
import { UsageError } from "../core/errors.ts";

/** One flag. Its name is its key in the table in kebab-case, its environment twin FASTCACHE_ and the same in capitals. */
export interface Flag<T> {
  /** What stands for the value in the help text. */
  readonly metavar: string;
  readonly help: string;
  /** The default as help text shows it. */
  readonly shown: string;
  readonly fallback: T;
  readonly repeatable: boolean;
  /** Called with the texts given, at least one. */
  readonly read: (texts: readonly string[]) => T;
}

export type FlagTable = Readonly<Record<string, Flag<unknown>>>;
export type FlagValues<Table extends FlagTable> = {
  readonly [Name in keyof Table]: Table[Name] extends Flag<infer Value> ? Value : never;
};

interface Presentation<T> {
  readonly metavar: string;
  readonly help: string;
  readonly fallback: T;
  readonly shown?: string;
}

/** A flag with one value; given twice, the last one counts. */
export function one<T>(o: Presentation<T>, read: (text: string) => T): Flag<T> {
  return {
    ...o,
    shown: o.shown ?? String(o.fallback),
    repeatable: false,
    read: (texts) => read(texts[texts.length - 1]),
  };
}

/** A flag that may be repeated; every occurrence, and its environment twin, may hold several values with commas. */
export function many<T>(
  o: Omit<Presentation<readonly T[]>, "fallback">,
  read: (text: string) => T,
): Flag<readonly T[]> {
  return {
    ...o,
    shown: o.shown ?? "none",
    fallback: [],
    repeatable: true,
    read: (texts) => {
      const parts = texts.flatMap((text) => text.split(",")).map((part) => part.trim());
      // An empty key must not open the server to everyone.
      if (parts.includes("")) throw new UsageError("must not be empty");
      return parts.map(read);
    },
  };
}

export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function environmentName(key: string): string {
  return `FASTCACHE_${flagName(key).replaceAll("-", "_").toUpperCase()}`;
}

/**
 * Reads `args` and the environment (`lookup` returns a variable or undefined; an empty one counts as unset).
 * Returns the values, and whether --help or --version was asked for instead. Throws UsageError, one line naming the flag or the variable.
 */
export function parseFlags<Table extends FlagTable>(
  table: Table,
  args: readonly string[],
  lookup: (name: string) => string | undefined,
): { values: FlagValues<Table>; asked: "help" | "version" | null } {
  const keys = new Map(Object.keys(table).map((key) => [flagName(key), key]));
  const given = new Map<string, string[]>();
  let asked: "help" | "version" | null = null;
  for (const token of tokenize(args, [...keys.keys()])) {
    if (token.kind === "positional") throw new UsageError(`unexpected argument "${token.value}"`);
    if (token.kind === "option-terminator") throw new UsageError(`unexpected argument "--"`);
    if (token.name === "help" || token.name === "h") {
      asked = "help";
      continue;
    }
    if (token.name === "version") {
      asked ??= "version";
      continue;
    }
    const key = keys.get(token.name);
    if (key === undefined) {
      throw new UsageError(`unknown flag ${token.rawName}${suggestion(token.name, keys.keys())}; see --help`);
    }
    if (token.value === undefined) {
      throw new UsageError(`${token.rawName} needs a value: ${table[key].metavar}`);
    }
    given.set(key, [...given.get(key) ?? [], token.value]);
  }
  const values: Record<string, unknown> = {};
  for (const [key, flag] of Object.entries(table)) {
    const variable = lookup(environmentName(key));
    const texts = given.get(key) ?? (variable === undefined || variable === "" ? null : [variable]);
    values[key] = texts === null
      ? flag.fallback
      : read(flag, texts, given.has(key) ? `--${flagName(key)}` : environmentName(key));
  }
  return { values: values as FlagValues<Table>, asked };
}

function tokenize(args: readonly string[], names: readonly string[]) {
  const options = Object.fromEntries(
    names.map((name) => [name, { type: "string" as const, multiple: true }]),
  );
  return parseArgs({
    args: [...args],
    options: { ...options, help: { type: "boolean", short: "h" }, version: { type: "boolean" } },
    // Strict parsing would report on several lines; the checks are made here on the tokens instead.
    strict: false,
    allowPositionals: true,
    tokens: true,
  }).tokens;
}

function read(flag: Flag<unknown>, texts: readonly string[], source: string): unknown {
  try {
    return flag.read(texts);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${source}: ${error.message}`);
    throw error;
  }
}

/** ` (did you mean --port?)` when one known name shares its first or last letters with the unknown one. */
function suggestion(name: string, known: Iterable<string>): string {
  let best: string | null = null;
  let bestShared = 2;
  for (const candidate of known) {
    const shared = sharedLetters(name, candidate);
    if (shared > bestShared && shared * 2 >= candidate.length) [best, bestShared] = [candidate, shared];
  }
  return best === null ? "" : ` (did you mean --${best}?)`;
}

/** Length of the common beginning plus length of the common end. */
function sharedLetters(a: string, b: string): number {
  const shortest = Math.min(a.length, b.length);
  let front = 0;
  while (front < shortest && a[front] === b[front]) front++;
  let back = 0;
  while (back < shortest - front && a[a.length - 1 - back] === b[b.length - 1 - back]) back++;
  return front + back;
}

/** One line a flag, or two where it does not fit. */
export function flagHelp(table: FlagTable): string {
  const lines = Object.entries(table).map(([key, flag]) => {
    const left = `  --${flagName(key)} ${flag.metavar}${flag.repeatable ? " (repeatable)" : ""}`;
    const right = `${flag.help} [${flag.shown}]`;
    return left.length < 34 ? `${left.padEnd(34)}${right}` : `${left}\n${" ".repeat(34)}${right}`;
  });
  return lines.join("\n");
}
