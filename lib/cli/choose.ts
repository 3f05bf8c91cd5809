/** What `start` decides from its flags, the model and the device. */
import { StartError, UsageError } from "../core/errors.ts";
import type { EngineFacts } from "../engine/engine.ts";
import type { TextConfig } from "../model/config.ts";
import { defaultWindows, type Windows } from "../../scheduler/window.ts";
import { poolTokens } from "./chosen.ts";
import type { ServeValues } from "./flags.ts";

/** The longest context of this model, or what was asked for. Throws UsageError when that is longer. */
export function contextLimit(
  text: Pick<TextConfig, "maxPositions" | "slidingWindow">,
  asked: number | null,
): number {
  const limit = Math.min(text.maxPositions, text.slidingWindow ?? Infinity);
  if (asked !== null && asked > limit) {
    throw new UsageError(`--max-model-len ${asked} is more than this model's longest context: ${limit}`);
  }
  return asked ?? limit;
}

/** A context that one sequence can fill. Throws StartError when the one asked for does not fit the pool. */
export function fitPool(contextMax: number, asked: number | null, facts: EngineFacts): number {
  const tokens = poolTokens(facts);
  if (asked !== null && asked > tokens) {
    throw new StartError(
      `--max-model-len ${asked} does not fit the KV pool of ${tokens} tokens: raise --kv-memory`,
    );
  }
  return Math.min(contextMax, tokens);
}

type WindowFlags = Pick<
  ServeValues,
  "maxNumSeqs" | "encodeWindow" | "prefillWindow" | "compressWindow" | "decodeWindow"
>;

/** The windows given by flag, the others by default. */
export function chooseWindows(options: WindowFlags, facts: EngineFacts): Windows {
  const chosen = defaultWindows(options.maxNumSeqs, facts.stepTokensMax);
  return {
    encode: options.encodeWindow ?? chosen.encode,
    prefill: options.prefillWindow ?? chosen.prefill,
    compress: options.compressWindow ?? chosen.compress,
    decode: options.decodeWindow ?? chosen.decode,
  };
}
