/** The families that can be served, by the class that config.json names. */
import { StartError } from "../../core/errors.ts";
import { isString, type JsonObject } from "../json.ts";
import type { Family } from "./family.ts";
import { llama } from "./llama.ts";
import { llava } from "./llava.ts";
import { mistral } from "./mistral.ts";
import { qwen2 } from "./qwen2.ts";

export const FAMILIES: readonly Family[] = [llava, llama, mistral, qwen2];

/** Throws StartError with the list of those supported when config.json names none of them. */
export function familyOf(config: JsonObject): Family {
  const named = config.list("architectures", isString, "a list of class names") ?? [];
  const family = FAMILIES.find(({ architecture }) => named.includes(architecture));
  if (family !== undefined) return family;
  const found = named.length === 0 ? "names no architecture" : `has the architecture ${named.join(", ")}`;
  const supported = FAMILIES.map(({ architecture }) => architecture).join(", ");
  throw new StartError(`${config.file} ${found}; supported are ${supported}`);
}
