/** What the scheduler knows of compression methods: how many slots remain. */
import { compressorFor, keptSlots, untrainedProblem } from "../lib/engine/compress/mod.ts";
import type { ImageSpan, LearnedFacts } from "../lib/engine/compress/segments.ts";
import type { Compression } from "./messages.ts";

/** What `auto` does when memory is short. It needs nothing but the cache, and on the default model it costs least. */
export const AUTO_COMPRESSION: Compression = { method: "streaming", ratio: 0.5, underPressure: true };

/**
 * Slots that remain in each layer of `slots` stored ones, or null when nothing would be saved. `images`: where pictures
 * are among them.
 */
export function keptOf(
  { method, ratio, learned }: Compression,
  slots: number,
  layers: number,
  images: readonly ImageSpan[] = [],
): Uint32Array | null {
  const kept = new Uint32Array(layers).fill(
    keptSlots(method, ratio, slots, learned === undefined ? null : { facts: learned, images }),
  );
  return kept.some((count) => count < slots) ? kept : null;
}

/** With what was trained for its ratio, where the method needs that; or why there is none. */
export function withTrained(
  compression: Compression,
  compressors: readonly LearnedFacts[],
): { readonly compression: Compression } | { readonly problem: string } {
  if (compression.method !== "learned") return { compression };
  const learned = compressorFor(compressors, compression.ratio);
  if (learned === null) return { problem: untrainedProblem(compressors, compression.ratio) };
  return { compression: { ...compression, learned } };
}
