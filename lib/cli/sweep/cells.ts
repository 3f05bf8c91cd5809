/**
 * What a sweep compares: every compression method at a few kept shares, and packing of whole caches.
 *
 * At one share all methods may store equally many slots of a prompt: {@link equalSlots}. A method that works in steps (whole chunks,
 * groups of f, layers of different lengths, text that always stays) comes as near as it can; what it really stored is counted.
 */
import { assert } from "../../core/assert.ts";
import {
  type Compression,
  METHOD_NAMES,
  type MethodName,
  type PromptShape,
} from "../../engine/compress/method.ts";
import { METHODS } from "../../engine/compress/mod.ts";
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
export function cellsOfSweep(): Cell[] {
  const methods = METHOD_NAMES.filter((method) => method !== "none");
  const variants = methods.flatMap((method) => {
    const short = Object.entries(SHORT_PROMPT).filter(([name]) =>
      Object.hasOwn(METHODS[method].settings, name)
    );
    const all = short.length === 0 ? [{}] : [{}, Object.fromEntries(short)];
    return all.map((settings) => ({ method, settings }));
  });
  return [
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

/** floor(slots / factor), at least 1. */
export function equalSlots({ slots }: PromptShape, factor: number): number {
  return Math.max(1, Math.floor(slots[0] / factor));
}

/** The compression of one prompt. Asserts that the cell is one of {@link cellsOfSweep}. */
export function compressionOf(
  { method, settings, quantize, factor }: Cell,
  prompt: PromptShape,
): Compression {
  const size = method === "none" ? {} : { budget: equalSlots(prompt, factor) };
  const parsed = parseCompression({
    method,
    ...settings,
    ...size,
    ...(quantize === null ? {} : { quantize }),
  });
  assert(parsed.ok, "a cell of the sweep is a compression");
  return parsed.compression;
}
