import { chosenByHost } from "./chosen_by_host.ts";
import { defineMethod, whole } from "./method.ts";

interface StreamingSettings {
  /** Tokens at the start that attention leans on whatever they say. */
  readonly n_sink: number;
}

/** The kept slots of one job: the first `sinkSlots` and the most recent ones. */
export function streamingSlots(slots: number, kept: number, sinkSlots: number): Uint32Array {
  const sinks = Math.min(sinkSlots, kept);
  const out = new Uint32Array(kept);
  for (let i = 0; i < kept; i++) out[i] = i < sinks ? i : slots - kept + i;
  return out;
}

/** Keeps sinks and the most recent tokens, the same of every head (StreamingLLM, Xiao et al. 2023; kvpress' StreamingLLMPress). */
export const streaming = defineMethod<StreamingSettings>({
  settings: { n_sink: whole(4, 0, 1024) },
  queryAgnostic: true,
  record(batch, { n_sink }) {
    batch.gather(
      chosenByHost(batch, (_prompt, _layer, _head, stored, kept) => streamingSlots(stored, kept, n_sink)),
    );
  },
});
