import { isWhole, type JsonObject } from "../json.ts";

/** Ids at which a completion ends: one, or a list. Null where the file does not say. Throws StartError. */
export function readEosIds(config: JsonObject): readonly number[] | null {
  const isId = (item: unknown): item is number => isWhole(item) && item >= 0;
  return config.list("eos_token_id", isId, "a token id or a list of token ids");
}

/** `bos_token_id`; null where it is null, `fallback` where it is absent. Throws StartError. */
export function readBosId(config: JsonObject, fallback: number | null): number | null {
  if (config.value("bos_token_id") === null) return null;
  return config.has("bos_token_id") ? config.integer("bos_token_id") : fallback;
}
