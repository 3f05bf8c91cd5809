/** What `start` decides from its flags, the model and the device. */
import { StartError, UsageError } from "../core/errors.ts";
import { withTrained } from "../engine/compress/learned.ts";
import type { LearnedFacts } from "../engine/compress/segments.ts";
import type { EngineFacts } from "../engine/engine.ts";
import type { TextConfig } from "../model/config.ts";
import type { TextProcessor } from "../text/text.ts";
import type { Compression } from "../../scheduler/messages.ts";
import { defaultWindows, type Windows } from "../../scheduler/window.ts";
import { poolTokens, size } from "./chosen.ts";
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
    const needed = Math.ceil(asked / facts.pageSlots) * facts.layers * facts.pageBytes;
    throw new StartError(
      `--max-model-len ${asked} does not fit the KV pool of ${tokens} tokens: it needs --kv-memory ${needed} (${
        size(needed)
      })`,
    );
  }
  return Math.min(contextMax, tokens);
}

/** Throws UsageError for a default completion limit that no request could reach. */
export function checkDefaultMaxTokens(asked: number | null, contextMax: number): void {
  if (asked === null || asked <= contextMax) return;
  throw new UsageError(`--default-max-tokens ${asked} is more than the longest context: ${contextMax}`);
}

/** The default compression with what was trained for it. Throws UsageError for factors that this model's compressor was not trained for. */
export function trainedDefault(
  asked: Compression | null,
  compressors: readonly LearnedFacts[],
): Compression | null {
  if (asked === null) return null;
  const found = withTrained(asked, compressors);
  if ("problem" in found) throw new UsageError(`--kv-compress: ${found.problem}`);
  return found.compression;
}

/** Why no question about a picture fits the context, or null. `imageTokens`: of one picture, 0 for a text-only model. */
export function pictureWarning(
  text: Pick<TextProcessor, "render" | "encode">,
  imageTokens: number,
  maxModelLen: number,
): string | null {
  if (imageTokens === 0) return null;
  const rendered = text.render([{ role: "user", content: [{ type: "image" }, { type: "text", text: "?" }] }]);
  const needed = text.encode(rendered, "chat", [imageTokens]).length + 1;
  if (needed <= maxModelLen) return null;
  return `warning: a context of ${maxModelLen} tokens holds no picture: one with the shortest question and answer takes ${needed}`;
}

/** Whether prompts share cached beginnings. Throws UsageError where that is asked of a pool that shares nothing. */
export function choosePrefixCache({ pool, prefixCache }: Pick<ServeValues, "pool" | "prefixCache">): boolean {
  const contiguous = pool === "contiguous";
  if (contiguous && prefixCache === true) {
    throw new UsageError("--prefix-cache on needs --pool paged: a contiguous pool shares nothing");
  }
  return !contiguous && prefixCache !== false;
}

type WindowFlags = Pick<
  ServeValues,
  "maxNumSeqs" | "encodeWindow" | "prefillWindow" | "compressWindow" | "decodeWindow"
>;

/** The windows given by flag, the others by default. */
export function chooseWindows(options: WindowFlags, facts: EngineFacts): Windows {
  const chosen = defaultWindows(options.maxNumSeqs, facts.stepTokensMax, facts.software);
  return {
    encode: options.encodeWindow ?? chosen.encode,
    prefill: options.prefillWindow ?? chosen.prefill,
    compress: options.compressWindow ?? chosen.compress,
    decode: options.decodeWindow ?? chosen.decode,
  };
}
