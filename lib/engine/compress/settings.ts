/** A request's wish for compression: from an unknown record to checked settings, or a word on the first wrong field. */
import { METHODS } from "./mod.ts";
import {
  type Compression,
  METHOD_NAMES,
  type MethodName,
  type Quantisation,
  type Setting,
  type Size,
} from "./method.ts";

export interface SettingsProblem {
  readonly field: string;
  /** No such field; a field that must be there; another type; a value out of bounds. */
  readonly kind: "unknown" | "missing" | "type" | "value";
  readonly message: string;
}

export type ParsedCompression =
  | { readonly ok: true; readonly compression: Compression }
  | { readonly ok: false; readonly problem: SettingsProblem };

/** Fraction removed where neither ratio nor budget is named: half. */
export const RATIO_DEFAULT = 0.5;
/** Largest budget: no context is longer. */
const BUDGET_MAX = 2 ** 24;
/** Fields beside a method's own settings. */
const COMMON = ["method", "ratio", "budget", "rerotate", "quantize", "tail"];
const BITS = { int8: 8, int4: 4 } as const;
const TAILS = ["float", "group"] as const;

class Wrong extends Error {
  constructor(readonly field: string, message: string, readonly kind: SettingsProblem["kind"] = "value") {
    super(message);
  }
}

/**
 * `none` without quantisation is all of the cache as it is. `record` is a JSON object whose policy fields (who is
 * protected, when it pays) the caller has taken out; `policyFields` are their names, for the message on an unknown one.
 */
export function parseCompression(
  record: Readonly<Record<string, unknown>>,
  policyFields: readonly string[] = [],
): ParsedCompression {
  try {
    return { ok: true, compression: parse(record, policyFields) };
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return { ok: false, problem: { field: error.field, kind: error.kind, message: error.message } };
  }
}

function parse(record: Readonly<Record<string, unknown>>, policyFields: readonly string[]): Compression {
  if (record.method === undefined) throw withoutMethod(record);
  const method = methodOf(record.method);
  const { settings: known, rerotates, sizeOf } = METHODS[method];
  for (const field of Object.keys(record)) {
    if (!COMMON.includes(field) && !Object.hasOwn(known, field)) {
      const names = [...COMMON, ...policyFields, ...Object.keys(known)].join(", ");
      throw new Wrong(field, `no setting of this method is called ${field}; it has ${names}`, "unknown");
    }
  }
  const quantise = quantisationOf(record);
  const named = method === "none" ? wholeSize(record) : sizeNamed(record);
  const size = sizeOf(named);
  if (typeof size === "string") throw new Wrong("ratio" in named ? "ratio" : "budget", size);
  const settings = Object.fromEntries(
    Object.entries(known).map(([name, setting]) => [name, valueOf(name, record[name], setting)]),
  );
  const rerotate = choiceOf("rerotate", record.rerotate ?? false);
  if (rerotate && !rerotates) {
    throw new Wrong("rerotate", `${method} does not keep slots as they are, as many in every layer`);
  }
  return { method, size, settings, rerotate, quantise };
}

/** A slip in the name of the method's own field is the likely mistake. */
function withoutMethod(record: Readonly<Record<string, unknown>>): Wrong {
  const known = [...COMMON, ...Object.values(METHODS).flatMap(({ settings }) => Object.keys(settings))];
  const unknown = Object.keys(record).find((field) => !known.includes(field));
  if (unknown !== undefined) return new Wrong(unknown, `there is no field ${unknown}`, "unknown");
  return new Wrong("method", `name a method: ${METHOD_NAMES.join(", ")}`, "missing");
}

function methodOf(value: unknown): MethodName {
  const method = METHOD_NAMES.find((name) => name === value);
  if (method === undefined) {
    throw new Wrong("method", `no method is called ${shown(value)}; there are ${METHOD_NAMES.join(", ")}`);
  }
  return method;
}

function sizeNamed({ ratio, budget }: Readonly<Record<string, unknown>>): Size {
  if (ratio !== undefined && budget !== undefined) {
    throw new Wrong("budget", "give ratio or budget, not both");
  }
  if (budget !== undefined) {
    return { budget: numberOf("budget", budget, { kind: "whole", least: 1, most: BUDGET_MAX, usual: 1 }) };
  }
  if (ratio === undefined) return { ratio: RATIO_DEFAULT };
  if (typeof ratio !== "number" || !(ratio > 0 && ratio < 1)) {
    const kind = typeof ratio === "number" ? "value" : "type";
    throw new Wrong("ratio", `ratio must be a number above 0 and below 1, got ${shown(ratio)}`, kind);
  }
  return { ratio };
}

/** Nothing is removed; a ratio or budget would say otherwise. */
function wholeSize({ ratio, budget }: Readonly<Record<string, unknown>>): Size {
  if (ratio !== undefined && ratio !== 0) {
    throw new Wrong("ratio", `none removes nothing, got ratio ${shown(ratio)}`);
  }
  if (budget !== undefined) throw new Wrong("budget", "none removes nothing and takes no budget");
  return { budget: BUDGET_MAX };
}

function quantisationOf({ quantize, tail }: Readonly<Record<string, unknown>>): Quantisation | null {
  const asked = quantize ?? null;
  if (asked !== null && asked !== "int8" && asked !== "int4") {
    throw new Wrong("quantize", `quantize must be int8 or int4, got ${shown(asked)}`);
  }
  const kind = TAILS.find((name) => name === (tail ?? "float"));
  if (kind === undefined) throw new Wrong("tail", `tail must be float or group, got ${shown(tail)}`);
  if (asked === null && tail !== undefined) throw new Wrong("tail", "tail needs quantize");
  return asked === null ? null : { bits: BITS[asked], tail: kind };
}

function valueOf(name: string, value: unknown, setting: Setting): number | boolean {
  if (value === undefined) return setting.usual;
  return setting.kind === "choice" ? choiceOf(name, value) : numberOf(name, value, setting);
}

function choiceOf(name: string, value: unknown): boolean {
  if (typeof value !== "boolean") {
    throw new Wrong(name, `${name} must be true or false, got ${shown(value)}`, "type");
  }
  return value;
}

const NOUNS = { whole: "a whole number", odd: "an odd whole number", real: "a number" } as const;

function numberOf(name: string, value: unknown, setting: Exclude<Setting, { kind: "choice" }>): number {
  const { kind, least, most } = setting;
  const fits = typeof value === "number" && value >= least && value <= most &&
    (kind === "real" || Number.isInteger(value)) && (kind !== "odd" || value % 2 === 1);
  if (!fits) {
    const problem = typeof value === "number" ? "value" : "type";
    throw new Wrong(
      name,
      `${name} must be ${NOUNS[kind]} from ${least} to ${most}, got ${shown(value)}`,
      problem,
    );
  }
  return value;
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  // Short forms read what is no number as NaN.
  return typeof value === "number" ? String(value) : JSON.stringify(value);
}
