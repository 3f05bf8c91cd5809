/** `kv_compression` of a body to what the scheduler is asked for. */
import { RequestError } from "../core/errors.ts";
import { withTrained } from "../engine/compress/learned.ts";
import type { LearnedFacts } from "../engine/compress/segments.ts";
import { parseCompression } from "../../scheduler/compression.ts";
import type { Compression } from "../../scheduler/messages.ts";
import type { GenerationFields } from "./schema.ts";

const CODES = {
  unknown: "unsupported_parameter",
  missing: "missing_required_parameter",
  type: "invalid_type",
  value: "invalid_value",
} as const;

/** null for `none`, undefined where the server's own choice holds. Throws RequestError naming the field. `compressors`: what was trained. */
export function compressionOf(
  asked: GenerationFields["kv_compression"],
  compressors: readonly LearnedFacts[] = [],
): Compression | null | undefined {
  if (asked === null || asked === undefined) return undefined;
  const short = typeof asked === "string";
  const parsed = parseCompression(short ? shorthand(asked) : asked);
  const refuse = (field: string, kind: keyof typeof CODES, message: string) => {
    const param = short ? "kv_compression" : `kv_compression.${field}`;
    return new RequestError(CODES[kind], `Invalid '${param}': ${message}.`, param);
  };
  if (!parsed.ok) throw refuse(parsed.problem.field, parsed.problem.kind, parsed.problem.message);
  if (parsed.compression === null) return null;
  const found = withTrained(parsed.compression, compressors);
  if ("problem" in found) throw refuse(compressors.length === 0 ? "method" : "ratio", "value", found.problem);
  return found.compression;
}

/** `METHOD` or `METHOD:RATIO`. A ratio that is no number reads as NaN, which no method takes. */
function shorthand(text: string): Record<string, unknown> {
  const colon = text.indexOf(":");
  if (colon < 0) return { method: text };
  const digits = text.slice(colon + 1);
  return { method: text.slice(0, colon), ratio: digits.trim() === "" ? NaN : Number(digits) };
}
