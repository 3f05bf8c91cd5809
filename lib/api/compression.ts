/** `kv_compression` of a body to what the scheduler is asked for. */
import { RequestError } from "../core/errors.ts";
import { parseCompression } from "../../scheduler/compression.ts";
import { compressionFields } from "../../scheduler/compression_text.ts";
import type { Compression } from "../../scheduler/messages.ts";
import type { GenerationFields } from "./schema.ts";

const CODES = {
  unknown: "unsupported_parameter",
  missing: "missing_required_parameter",
  type: "invalid_type",
  value: "invalid_value",
} as const;

/** null for `none`, undefined where the server's own choice holds. Throws RequestError naming the field. */
export function compressionOf(asked: GenerationFields["kv_compression"]): Compression | null | undefined {
  if (asked === null || asked === undefined) return undefined;
  const short = typeof asked === "string";
  const parsed = parseCompression(short ? compressionFields(asked) : asked);
  if (parsed.ok) return parsed.compression;
  const { field, kind, message } = parsed.problem;
  const param = short ? "kv_compression" : `kv_compression.${field}`;
  throw new RequestError(CODES[kind], `Invalid '${param}': ${message}.`, param);
}
