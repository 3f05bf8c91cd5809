import { chosenByHost } from "./chosen_by_host.ts";
import { defineMethod, whole } from "./method.ts";

interface StreamingSettings {
  /** Tokens at the start that attention leans on whatever they say. */
  readonly n_sink: number;
}

/** Writes the kept slots of one row from `out[at]` on: the first `sinkSlots` and the most recent ones. */
export function streamingSlots(
  out: Uint32Array,
  at: number,
  slots: number,
  kept: number,
  sinkSlots: number,
): void {
  const sinks = Math.min(sinkSlots, kept);
  for (let i = 0; i < sinks; i++) out[at + i] = i;
  for (let i = sinks; i < kept; i++) out[at + i] = slots - kept + i;
}

/** Keeps sinks and the most recent tokens, the same of every head (StreamingLLM, Xiao et al. 2023; kvpress' StreamingLLMPress). */
export const streaming = defineMethod<StreamingSettings>({
  settings: { n_sink: whole(4, 0, 1024) },
  queryAgnostic: true,
  record(batch, { n_sink }) {
    batch.gather(
      chosenByHost(batch, (out, at, { stored, kept }) => streamingSlots(out, at, stored, kept, n_sink)),
    );
  },
});
