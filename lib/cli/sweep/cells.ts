/**
 * What a sweep compares: every compression method at a few kept shares, and packing of whole caches.
 *
 * At one size all methods may store equally many slots of a prompt: a share of them, or what the learned method stores at a factor it
 * was trained for, see {@link slotsOf}. A method that works in steps (whole chunks, groups of f, layers of different lengths, text that
 * always stays) comes as near as it can; what it really stored is counted.
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
  /** One slot of `factor`, or as many as the learned method stores at that factor. */
  readonly slots: "share" | "learned";
}

/** The whole cache, which all others are compared with. */
export const FULL: Cell = { method: "none", settings: {}, quantize: null, factor: 1, slots: "share" };

/**
 * Settings for prompts of some 80 tokens, of which a question is 10 to 15, beside the usual ones, which were chosen for thousands:
 * a window of 64 tokens, chunks of 20 and partitions of 128 leave next to nothing to choose there.
 */
const SHORT_PROMPT: Readonly<Record<string, number>> = { window_size: 8, chunk_length: 4, lag_size: 16 };

/**
 * The methods of this build at every share and at what the learned method stores, twice where short prompts ask for other settings;
 * then packing alone.
 */
export function cellsOfSweep(compressors: readonly LearnedFacts[]): Cell[] {
  const methods = METHOD_NAMES.filter((method) => method !== "none" && method !== "learned");
  const variants = methods.flatMap((method) => {
    const short = Object.entries(SHORT_PROMPT).filter(([name]) =>
      Object.hasOwn(METHODS[method].settings, name)
    );
    const all = short.length === 0 ? [{}] : [{}, Object.fromEntries(short)];
    return all.map((settings) => ({ method, settings, quantize: null }));
  });
  const trained = compressors.map(({ factor }) => ({ factor, slots: "learned" as const }));
  const sizes = [...FACTORS.map((factor) => ({ factor, slots: "share" as const })), ...trained];
  return [
    ...trained.map((size): Cell => ({ method: "learned", settings: {}, quantize: null, ...size })),
    ...sizes.flatMap((size) => variants.map((variant): Cell => ({ ...variant, ...size }))),
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
 * What a method may store of a prompt in a layer: floor(slots / factor), at least 1, or what the learned method stores, whose groups of
 * `factor` leave the rest of each picture and text as it is (of 64 + 12 + 4 tokens at factor 5: 12 + 4, 2 + 2, 4); the mean, rounded,
 * where its factors differ by layer.
 */
export function slotsOf(
  { factor, slots }: Pick<Cell, "factor" | "slots">,
  prompt: PromptShape,
  compressors: readonly LearnedFacts[],
): number {
  if (slots === "share") return Math.max(1, Math.floor(prompt.slots[0] / factor));
  const kept = keptByLayer(learnedAt(factor, compressors), prompt);
  return Math.round(kept.reduce((sum, count) => sum + count, 0) / kept.length);
}

/** The learned method at a factor it was trained for. */
function learnedAt(factor: number, compressors: readonly LearnedFacts[]): Compression {
  const found = withTrained(parsed({ method: "learned", ratio: 1 - 1 / factor }), compressors);
  assert("compression" in found, "what learned stores is asked at factors it was trained for");
  return found.compression;
}

function parsed(wish: Readonly<Record<string, unknown>>): Compression {
  const result = parseCompression(wish);
  assert(result.ok, "a cell of the sweep is a compression");
  return result.compression;
}

/** The compression of one prompt. Asserts that the cell is one of {@link cellsOfSweep}. */
export function compressionOf(
  cell: Cell,
  prompt: PromptShape,
  compressors: readonly LearnedFacts[],
): Compression {
  const { method, settings, quantize } = cell;
  if (method === "learned") return learnedAt(cell.factor, compressors);
  const size = method === "none" ? {} : { budget: slotsOf(cell, prompt, compressors) };
  return parsed({ method, ...settings, ...size, ...(quantize === null ? {} : { quantize }) });
}
