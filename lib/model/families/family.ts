/** What a model family knows: how its config reads and how its weights are called. */
import type { ModelConfig } from "../config.ts";
import type { JsonObject } from "../json.ts";

/** Where a family's tensors may stand, in the order to try. Exporters and library versions differ. */
export interface WeightPrefixes {
  readonly text: readonly string[];
  /** Whole names of the output embedding. */
  readonly head: readonly string[];
  /** Empty for a text-only family. */
  readonly vision: readonly string[];
  readonly projector: readonly string[];
}

export interface Family {
  /** The class that config.json names in `architectures`. */
  readonly architecture: string;
  readonly prefixes: WeightPrefixes;
  /** Reads config.json. Throws StartError naming the field that is wrong or not supported. */
  readConfig(config: JsonObject): ModelConfig;
}
