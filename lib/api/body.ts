/** A request's JSON body, read with a bound: never more than it is ever in memory. */
import { RequestError } from "../core/errors.ts";
import { BODY_BYTES_MAX, JSON_STRUCTURE_BYTES_MAX } from "../core/limits.ts";
import { ClientGone } from "./errors.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

function tooLarge(): RequestError {
  return new RequestError("payload_too_large", `The body is larger than ${BODY_BYTES_MAX} bytes.`);
}

/** Only JSON: a page of another origin cannot send it without asking first. */
function requireJsonType(request: Request): void {
  const type = (request.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
  if (type === "application/json" || /^application\/[\w.-]+\+json$/.test(type)) return;
  throw new RequestError("unsupported_media_type", "The content type must be application/json.");
}

async function readBytes(request: Request): Promise<Uint8Array> {
  if (Number(request.headers.get("content-length") ?? 0) > BODY_BYTES_MAX) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of request.body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > BODY_BYTES_MAX) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    // The only other way in which reading fails: the connection ended inside the body.
    throw error instanceof RequestError ? error : new ClientGone();
  }
  if (chunks.length === 1) return chunks[0];
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Index of the quote that ends the string whose text begins at `from`; -1 if none does. */
function stringEnd(bytes: Uint8Array, from: number): number {
  for (let quote = bytes.indexOf(QUOTE, from); quote >= 0; quote = bytes.indexOf(QUOTE, quote + 1)) {
    let escapes = 0;
    while (quote - escapes > from && bytes[quote - escapes - 1] === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return quote;
  }
  return -1;
}

/**
 * Refuses millions of brackets and numbers before they are parsed: a parser takes seconds for them, and every other
 * request would wait. Text in strings, where pictures are, is skipped.
 */
function checkStructure(bytes: Uint8Array): void {
  if (bytes.length <= JSON_STRUCTURE_BYTES_MAX) return;
  let outside = 0;
  for (let at = 0; at < bytes.length;) {
    const open = bytes.indexOf(QUOTE, at);
    outside += (open < 0 ? bytes.length : open) - at;
    if (outside > JSON_STRUCTURE_BYTES_MAX) {
      throw new RequestError(
        "payload_too_large",
        `The body has more than ${JSON_STRUCTURE_BYTES_MAX} bytes outside its strings.`,
      );
    }
    const close = open < 0 ? -1 : stringEnd(bytes, open + 1);
    if (close < 0) return;
    outside += 2;
    at = close + 1;
  }
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new RequestError("invalid_json", "The body is not valid JSON in UTF-8.");
  }
}

/** Throws RequestError unsupported_media_type, payload_too_large, invalid_json or invalid_type; ClientGone. */
export async function readJsonObject(request: Request): Promise<JsonObject> {
  requireJsonType(request);
  const bytes = await readBytes(request);
  checkStructure(bytes);
  const value = parse(bytes);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new RequestError("invalid_type", "The body must be a JSON object.");
  }
  return value as JsonObject;
}
