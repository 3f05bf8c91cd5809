import { defineMethod, type Size } from "./method.ts";
import { gatherByWindow, WINDOW_SETTINGS, type WindowSettings, windowSuffices } from "./snap_kv.ts";

interface PyramidSettings extends WindowSettings {
  /** How much less the last layer keeps than the first. */
  readonly beta: number;
}

/** Python's round: halves to the even neighbour. */
function roundHalfEven(value: number): number {
  const below = Math.floor(value), rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Slots that layer `layer` of `layers` keeps of `slots`: from 2T − T / beta in the first layer to T / beta in the last, T on
 * average; where that is impossible T everywhere. Steps in double precision in kvpress' order, which decides near halves.
 */
export function pyramidKept(
  slots: number,
  layer: number,
  layers: number,
  size: Size,
  { window_size, beta }: PyramidSettings,
): number {
  const wanted = "budget" in size ? Math.min(size.budget, slots) : slots * (1 - size.ratio);
  const mean = window_size + wanted - window_size;
  let least = mean / beta, most = mean * 2 - least;
  if (most >= slots - window_size) {
    most = slots - window_size;
    least = mean * 2 - most;
  }
  const possible = slots >= most && most >= least && least >= window_size;
  const kept = possible && layers > 1 ? most - layer * ((most - least) / (layers - 1)) : mean;
  return Math.min(slots, Math.max(1, roundHalfEven(kept)));
}

/** SnapKV's scores with more slots for the first layers than for the last (PyramidKV, Cai et al. 2024; kvpress' PyramidKVPress). */
export const pyramidKv = defineMethod<PyramidSettings>({
  settings: { ...WINDOW_SETTINGS, beta: { kind: "real", least: 1, most: 1000, usual: 20 } },
  rerotates: false,
  need: ({ window_size }) => ({ kind: "queries", window: window_size }),
  kept: ({ slots }, size, settings) =>
    slots.map((stored, layer) => pyramidKept(stored, layer, slots.length, size, settings)),
  variant: (prompt, settings) => Number(windowSuffices(prompt, settings)),
  record: gatherByWindow,
});
