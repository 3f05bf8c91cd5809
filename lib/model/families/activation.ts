import type { Activation } from "../../ops/backend.ts";
import type { JsonObject } from "../json.ts";

/** Names as configs write them. `gelu_new` and `gelu_fast` write the same tanh formula differently. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
  quick_gelu: "quick_gelu",
  relu: "relu",
};

/** Throws StartError for an activation that no kernel computes. */
export function readActivation(config: JsonObject, key: string, fallback: string): Activation {
  const name = config.string(key, fallback);
  if (!Object.hasOwn(ACTIVATIONS, name)) config.fail(key, `one of ${Object.keys(ACTIVATIONS).join(", ")}`);
  return ACTIVATIONS[name];
}
