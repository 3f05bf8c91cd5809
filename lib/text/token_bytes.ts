/**
 * The bytes that one token adds to a text, as the `decoder` of tokenizer.json says. Bytes and not characters: a
 * character may need several tokens.
 */
import { JsonObject } from "../model/json.ts";
import { isRecord } from "../model/json.ts";
import { byteLevelBytes } from "./byte_level.ts";

export interface TokenBytes {
  /** Bytes of a token's text; `first` says that the text begins with it. */
  of(token: string, first: boolean): Uint8Array;
  /** Spaces that go from the start of a text, if there are as many. */
  readonly leadingSpaces: number;
}

const HEX_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;
const encoder = new TextEncoder();

/** Throws StartError for a decoder that cannot be taken token by token. */
export function readTokenBytes(tokenizer: JsonObject): TokenBytes {
  const decoder = tokenizer.object("decoder") ?? tokenizer.fail("decoder", "an object");
  switch (decoder.string("type")) {
    case "ByteLevel":
      return { of: byteLevelBytes, leadingSpaces: 0 };
    case "Metaspace":
      return metaspace(decoder);
    case "Sequence":
      return sequence(decoder);
    default:
      return decoder.fail("type", "ByteLevel, Metaspace or Sequence");
  }
}

/** Words begin with the replacement character; in the first token of a text it stands for nothing. */
function metaspace(decoder: JsonObject): TokenBytes {
  const mark = decoder.string("replacement", "▁");
  const fallback = decoder.boolean("add_prefix_space", true) ? "always" : "never";
  const kept = decoder.string("prepend_scheme", fallback) === "never";
  return {
    of: (token, first) => encoder.encode(token.replaceAll(mark, first && !kept ? "" : " ")),
    leadingSpaces: 0,
  };
}

/** SentencePiece's chain: replacements, byte fallback, all tokens joined, spaces stripped from the start. */
function sequence(decoder: JsonObject): TokenBytes {
  const replacements: [string, string][] = [];
  let byteFallback = false, fused = false, leadingSpaces = 0;
  for (const part of parts(decoder)) {
    const type = part.string("type");
    if (type === "Replace" && !byteFallback && !fused) replacements.push(replacement(part));
    else if (type === "ByteFallback" && !fused) byteFallback = true;
    else if (type === "Fuse") fused = true;
    else if (type === "Strip" && fused) leadingSpaces += strippedSpaces(part);
    else part.fail("type", "part of Replace, ByteFallback, Fuse, Strip in this order");
  }
  if (!fused) decoder.fail("decoders", "a chain with Fuse");
  return {
    of(token) {
      const hex = byteFallback ? HEX_TOKEN.exec(token) : null;
      if (hex !== null) return Uint8Array.of(parseInt(hex[1], 16));
      return encoder.encode(replacements.reduce((text, [from, to]) => text.replaceAll(from, to), token));
    },
    leadingSpaces,
  };
}

function parts(decoder: JsonObject): JsonObject[] {
  const list = decoder.list("decoders", isRecord, "a list of decoders") ?? [];
  return list.map((fields, index) =>
    new JsonObject(decoder.file, fields, `${decoder.path}decoders[${index}].`)
  );
}

function replacement(part: JsonObject): [string, string] {
  const pattern = part.object("pattern") ?? part.fail("pattern", "an object");
  return [pattern.string("String"), part.string("content")];
}

function strippedSpaces(part: JsonObject): number {
  if (part.string("content") !== " ") part.fail("content", "a space");
  // Nothing can be taken from the end of a text that is still growing.
  if (part.integer("stop", 0) !== 0) part.fail("stop", "0");
  return part.integer("start", 0);
}
