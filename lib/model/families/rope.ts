import type { RopeConfig } from "../config.ts";
import type { JsonObject } from "../json.ts";

const THETA_DEFAULT = 10_000;

/**
 * Rotary embedding settings: `rope_theta` and `rope_scaling` of most published configs, or `rope_parameters` of newer
 * ones, which wins where both stand. Throws StartError for a kind of scaling that is not built.
 */
export function readRope(config: JsonObject): RopeConfig {
  const parameters = config.object("rope_parameters");
  for (const holder of parameters === null ? [config] : [config, parameters]) {
    if (holder.number("partial_rotary_factor", 1) !== 1) holder.fail("partial_rotary_factor", "1");
  }
  const scaling = parameters ?? config.object("rope_scaling");
  const theta = parameters?.has("rope_theta")
    ? parameters.number("rope_theta")
    : config.number("rope_theta", THETA_DEFAULT);
  if (!(theta > 0)) (parameters ?? config).fail("rope_theta", "above 0");
  return { theta, llama3: scaling === null ? null : readScaling(scaling, config) };
}

function readScaling(scaling: JsonObject, config: JsonObject): RopeConfig["llama3"] {
  // Older configs call the field `type`.
  const key = scaling.has("rope_type") || !scaling.has("type") ? "rope_type" : "type";
  const kind = scaling.string(key, "default");
  if (kind === "default") return null;
  if (kind !== "llama3") scaling.fail(key, "default or llama3");
  const originalPositions = scaling.has("original_max_position_embeddings")
    ? scaling.integer("original_max_position_embeddings", undefined, 1)
    : config.integer("max_position_embeddings", undefined, 1);
  const llama3 = {
    factor: scaling.number("factor"),
    lowFreqFactor: scaling.number("low_freq_factor"),
    highFreqFactor: scaling.number("high_freq_factor"),
    originalPositions,
  };
  if (!(llama3.factor >= 1)) scaling.fail("factor", "at least 1");
  if (!(llama3.lowFreqFactor > 0)) scaling.fail("low_freq_factor", "above 0");
  if (!(llama3.highFreqFactor > llama3.lowFreqFactor)) {
    scaling.fail("high_freq_factor", "above low_freq_factor");
  }
  return llama3;
}
