/** The tokens that a model directory names: their texts for templates, their ids to leave out of completions. */
import type { JsonObject } from "../model/json.ts";
import { isRecord } from "../model/json.ts";

/** An entry of `added_tokens` in tokenizer.json. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly [flag: string]: unknown;
}

export interface SpecialTokens {
  /** `bos_token`, `eos_token`, `image_token` … as templates know them. */
  readonly named: Readonly<Record<string, string>>;
  /** Special tokens without a name of their own. */
  readonly additional: readonly string[];
  /** Tokens that only tokenizer_config.json declares. */
  readonly declared: readonly AddedToken[];
}

/** `special_tokens_map.json` of older exports says the same; tokenizer_config.json wins. Throws StartError. */
export function readSpecialTokens(config: JsonObject | null, map: JsonObject | null): SpecialTokens {
  const named: Record<string, string> = {};
  const additional = new Set<string>();
  for (const file of [map, config]) {
    if (file === null) continue;
    for (const key of file.keys()) {
      if (!key.endsWith("_token")) continue;
      const text = contentOf(file.value(key));
      if (text !== null) named[key] = text;
    }
    for (const key of ["additional_special_tokens", "extra_special_tokens"]) {
      for (const text of contentsOf(file.value(key))) additional.add(text);
    }
  }
  const declared = config?.object("added_tokens_decoder") ?? null;
  return { named, additional: [...additional], declared: declared === null ? [] : readDeclared(declared) };
}

function readDeclared(tokens: JsonObject): AddedToken[] {
  return tokens.keys().map((key) => {
    const token = tokens.inside(key);
    const flag = (name: string) => token.boolean(name, false);
    const special = flag("special");
    return {
      id: Number(key),
      content: token.string("content"),
      special,
      single_word: flag("single_word"),
      lstrip: flag("lstrip"),
      rstrip: flag("rstrip"),
      normalized: token.boolean("normalized", !special),
    };
  });
}

/** A token is written as its text, or as an object with its text. */
function contentOf(value: unknown): string | null {
  if (typeof value === "string") return value;
  return isRecord(value) && typeof value.content === "string" ? value.content : null;
}

/** A list of tokens, or an object of named ones. */
function contentsOf(value: unknown): string[] {
  const items: readonly unknown[] = Array.isArray(value)
    ? value
    : isRecord(value)
    ? Object.values(value)
    : [];
  return items.map(contentOf).filter((text) => text !== null);
}
