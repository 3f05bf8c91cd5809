/** JSON files of a model directory, read so that every complaint names the file, the field and what was found. */
import { StartError } from "../core/errors.ts";

/** A JSON object with checked access. A field that is null counts as absent, as the Python classes treat None. */
export class JsonObject {
  readonly #fields: Readonly<Record<string, unknown>>;

  /** `path` is where the object stands in its file: "" for the whole, else such as `text_config.`. */
  constructor(readonly file: string, fields: Readonly<Record<string, unknown>>, readonly path = "") {
    this.#fields = fields;
  }

  /** The value as parsed; undefined when the key is absent. */
  value(key: string): unknown {
    return Object.hasOwn(this.#fields, key) ? this.#fields[key] : undefined;
  }

  has(key: string): boolean {
    return (this.value(key) ?? null) !== null;
  }

  keys(): string[] {
    return Object.keys(this.#fields);
  }

  /** All fields, for a reader that checks them itself. */
  copy(): Record<string, unknown> {
    return { ...this.#fields };
  }

  /** A whole number of at least `min`. Without `fallback` the field is required. */
  integer(key: string, fallback?: number, min = 0): number {
    const value = this.value(key) ?? fallback;
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min) return value;
    return this.fail(key, `a whole number of at least ${min}`);
  }

  number(key: string, fallback?: number): number {
    const value = this.value(key) ?? fallback;
    return typeof value === "number" ? value : this.fail(key, "a number");
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.value(key) ?? fallback;
    return typeof value === "boolean" ? value : this.fail(key, "true or false");
  }

  string(key: string, fallback?: string): string {
    const value = this.value(key) ?? fallback;
    return typeof value === "string" ? value : this.fail(key, "a string");
  }

  /** A list whose items are all of one kind; a single item counts as a list of one. Null when absent. */
  list<T>(key: string, isItem: (item: unknown) => item is T, expected: string): readonly T[] | null {
    const value = this.value(key) ?? null;
    if (value === null) return null;
    const items: readonly unknown[] = Array.isArray(value) ? value : [value];
    return items.every(isItem) ? items : this.fail(key, expected);
  }

  /** An object inside this one; null when absent. */
  object(key: string): JsonObject | null {
    const value = this.value(key) ?? null;
    if (value === null) return null;
    if (!isRecord(value)) return this.fail(key, "an object");
    return new JsonObject(this.file, value, `${this.path}${key}.`);
  }

  /** An object inside this one; an empty one when absent, so that its fields have their defaults. */
  inside(key: string): JsonObject {
    return this.object(key) ?? new JsonObject(this.file, {}, `${this.path}${key}.`);
  }

  /** Throws StartError: this field must be `expected`. */
  fail(key: string, expected: string): never {
    const value = this.value(key);
    const found = value === undefined ? "nothing" : shortened(JSON.stringify(value));
    throw new StartError(`${this.file}: ${this.path}${key} must be ${expected}, found ${found}`);
  }
}

export function isString(value: unknown): value is string {
  return typeof value === "string";
}

export function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses one object. Throws StartError naming `file`. */
export function parseJson(file: string, text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    // The engine's message may quote lines of the file.
    const reason = String(error instanceof Error ? error.message : error).replace(/\s+/g, " ");
    throw new StartError(`${file} is not valid JSON: ${reason}`);
  }
  if (!isRecord(value)) throw new StartError(`${file} must hold a JSON object`);
  return new JsonObject(file, value);
}

/** The text of a file; null when there is none. Throws StartError when it cannot be read. */
export async function readText(file: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new StartError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

/** The object in a file; null when there is no such file. Throws StartError when it is broken. */
export async function readJson(file: string): Promise<JsonObject | null> {
  const text = await readText(file);
  return text === null ? null : parseJson(file, text);
}

function shortened(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 79)}…`;
}
