/**
 * What a sweep compares: every compression method at a few kept shares, and packing of whole caches.
 *
 * At one share all methods may store equally many slots of a prompt: as many as the learned method does where it was trained for
 * that factor, see {@link equalSlots}. A method that works in steps (whole chunks,
 * groups of f, layers of different lengths, text that always stays) comes as near as it can; what it really stored is counted.
 */
import { assert } from "../../core/assert.ts";
import {
  type Compression,
  METHOD_NAMES,
  type MethodName,
  type PromptShape,
} from "../../engine/compress/method.ts";
import { withTrained } from "../../engine/compress/learned.ts";
import { keptByLayer, METHODS } from "../../engine/compress/mod.ts";
import type { LearnedFacts } from "../../engine/compress/segments.ts";
import { parseCompression } from "../../engine/compress/settings.ts";

/** One of so many slots is kept. */
export const FACTORS = [2, 3, 5, 10] as const;

export interface Cell {
  readonly method: MethodName;
  /** Those that are not as usual. */
  readonly settings: Readonly<Record<string, number>>;
  readonly quantize: "int8" | "int4" | null;
  /** 1 where all slots stay. */
  readonly factor: number;
}

/** The whole cache, which all others are compared with. */
export const FULL: Cell = { method: "none", settings: {}, quantize: null, factor: 1 };

/**
 * Settings for prompts of some 80 tokens, of which a question is 10 to 15, beside the usual ones, which were chosen for thousands:
 * a window of 64 tokens, chunks of 20 and partitions of 128 leave next to nothing to choose there.
 */
const SHORT_PROMPT: Readonly<Record<string, number>> = { window_size: 8, chunk_length: 4, lag_size: 16 };

/** The methods of this build at every factor, twice where short prompts ask for other settings; then packing alone. */
export function cellsOfSweep(compressors: readonly LearnedFacts[]): Cell[] {
  const methods = METHOD_NAMES.filter((method) => method !== "none" && method !== "learned");
  const variants = methods.flatMap((method) => {
    const short = Object.entries(SHORT_PROMPT).filter(([name]) =>
      Object.hasOwn(METHODS[method].settings, name)
    );
    const all = short.length === 0 ? [{}] : [{}, Object.fromEntries(short)];
    return all.map((settings) => ({ method, settings }));
  });
  return [
    ...compressors.map(({ factor }): Cell => ({ method: "learned", settings: {}, quantize: null, factor })),
    ...variants.flatMap((variant) => FACTORS.map((factor) => ({ ...variant, quantize: null, factor }))),
    { ...FULL, quantize: "int8" },
    { ...FULL, quantize: "int4" },
  ];
}

/** Such as `snapkv window_size=8`; the name that tables and plots give it. */
export function cellName({ method, settings, quantize }: Cell): string {
  const own = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  return [method, ...own, ...(quantize === null ? [] : [quantize])].join(" ");
}

/**
 * What a method may store of a prompt in a layer: what the learned method stores, whose groups of `factor` leave the rest of each
 * picture and text as it is (of 64 + 12 + 4 tokens at factor 5: 12 + 4, 2 + 2, 4); floor(slots / factor), at least 1, where it was not
 * trained for the factor.
 */
export function equalSlots(
  prompt: PromptShape,
  factor: number,
  compressors: readonly LearnedFacts[],
): number {
  const learned = learnedAt(factor, compressors);
  return learned === null
    ? Math.max(1, Math.floor(prompt.slots[0] / factor))
    : keptByLayer(learned, prompt)[0];
}

/** The learned method at a factor; null where it was not trained for it. */
function learnedAt(factor: number, compressors: readonly LearnedFacts[]): Compression | null {
  const found = withTrained(parsed({ method: "learned", ratio: 1 - 1 / factor }), compressors);
  return "compression" in found ? found.compression : null;
}

function parsed(wish: Readonly<Record<string, unknown>>): Compression {
  const result = parseCompression(wish);
  assert(result.ok, "a cell of the sweep is a compression");
  return result.compression;
}

/** The compression of one prompt. Asserts that the cell is one of {@link cellsOfSweep}. */
export function compressionOf(
  { method, settings, quantize, factor }: Cell,
  prompt: PromptShape,
  compressors: readonly LearnedFacts[],
): Compression {
  if (method === "learned") {
    const learned = learnedAt(factor, compressors);
    assert(learned !== null, "a cell of the learned method is of a factor it was trained for");
    return learned;
  }
  const size = method === "none" ? {} : { budget: equalSlots(prompt, factor, compressors) };
  return parsed({ method, ...settings, ...size, ...(quantize === null ? {} : { quantize }) });
}
