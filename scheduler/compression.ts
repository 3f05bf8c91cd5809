/** What the scheduler knows of compression methods: how many slots remain. */
import { keptSlots } from "../lib/engine/compress/mod.ts";
import type { Compression } from "./messages.ts";

/** What `auto` does when memory is short. It needs nothing but the cache, and on the default model it costs least. */
export const AUTO_COMPRESSION: Compression = { method: "streaming", ratio: 0.5, underPressure: true };

/** Slots that remain in each layer of `slots` stored ones, or null when nothing would be saved. */
export function keptOf(
  { method, ratio }: Compression,
  slots: number,
  layers: number,
): Uint32Array | null {
  const kept = new Uint32Array(layers).fill(keptSlots(method, ratio, slots));
  return kept.some((count) => count < slots) ? kept : null;
}
