/** A schema's complaints as the one error a client sees: the first problem, with its path in the body. */
import type { z } from "zod";
import { RequestError } from "../core/errors.ts";

type Issue = z.core.$ZodIssue;
export type FieldPath = readonly (string | number)[];

/** `messages[0].content[1].image_url.url` */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const step of path) {
    text += typeof step === "number" ? `[${step}]` : text === "" ? String(step) : `.${String(step)}`;
  }
  return text;
}

/** The JSON word for what a value is; a fraction as it is, for it is its being one that is wrong. */
function kindOf(value: unknown): string {
  if (typeof value === "number" && !Number.isInteger(value)) return String(value);
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** An unknown key goes first: it is often the slip behind a missing one. */
function foremost(issues: readonly Issue[]): Issue | undefined {
  return issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
}

/** Whether the branch of a union fits the value itself and complains of something inside it. */
function isInside(issue: Issue): boolean {
  return issue.path.length > 0 || issue.code === "unrecognized_keys";
}

/** Of a union's branches the one that got furthest speaks; where none did, the union as a whole. */
function deepest(issue: Issue): { issue: Issue; path: PropertyKey[] } {
  if (issue.code === "invalid_union") {
    const branch = issue.errors.map(foremost).find((first) => first !== undefined && isInside(first));
    if (branch !== undefined) {
      const inner = deepest(branch);
      return { issue: inner.issue, path: [...issue.path, ...inner.path] };
    }
  }
  return { issue, path: [...issue.path] };
}

function expectation(issue: Issue): string {
  switch (issue.code) {
    case "invalid_type":
      return `expected ${issue.expected === "int" ? "a whole number" : `a value of type ${issue.expected}`}`;
    case "invalid_union":
      return "the type is not one of those allowed here";
    case "too_small":
      return `must be at least ${issue.minimum}`;
    case "too_big":
      return `must be at most ${issue.maximum}`;
    case "invalid_value":
      return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(", ")}`;
    default:
      return issue.message;
  }
}

/** A required field that is absent. */
export function missing(param: string): RequestError {
  return new RequestError("missing_required_parameter", `Missing required parameter: '${param}'.`, param);
}

function unknown(param: string): RequestError {
  return new RequestError("unsupported_parameter", `Unknown parameter: '${param}'.`, param);
}

export function invalidType(param: string, expected: string, value: unknown): RequestError {
  return new RequestError(
    "invalid_type",
    `Invalid type for '${param}': expected ${expected}, got ${kindOf(value)}.`,
    param,
  );
}

export function invalidValue(param: string, why: string): RequestError {
  return new RequestError("invalid_value", `Invalid value for '${param}': ${why}.`, param);
}

/** `value` as `schema` reads it. `base` is where it stands in the body. Throws RequestError for the first problem. */
export function read<S extends z.ZodType>(schema: S, value: unknown, base: FieldPath = []): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issue, path } = deepest(result.error.issues[0]);
  if (issue.code === "unrecognized_keys") {
    throw unknown(fieldPath([...base, ...path, issue.keys[0].slice(0, 200)]));
  }
  const param = fieldPath([...base, ...path]);
  const found = valueAt(value, path);
  const wrongType = issue.code === "invalid_type" || issue.code === "invalid_union";
  if (wrongType && (found === undefined || found === null)) throw missing(param);
  if (wrongType) {
    throw new RequestError(
      "invalid_type",
      `Invalid type for '${param}': ${expectation(issue)}, got ${kindOf(found)}.`,
      param,
    );
  }
  throw invalidValue(param, expectation(issue));
}
