import { chosenByHost } from "./chosen_by_host.ts";
import { type BatchPrompt, defineMethod, gatherTop, scoresOf, type Size, whole } from "./method.ts";
import { WINDOW_SETTINGS, windowScores, type WindowSettings } from "./snap_kv.ts";

interface ChunkSettings extends WindowSettings {
  readonly chunk_length: number;
}

/**
 * Whole chunks remain, max(1, int(chunks · (1 − ratio))) of them; a shorter last one counts as one. The last chunk always
 * does: it has window tokens, and with w of them its mean is at least (1 + m) · w / length, m being the largest score. No
 * chunk that has none exceeds 1 / chunk_length, as attention sums to 1; those inside the window only tie with it. So the
 * number of slots is known before the scores are.
 */
export function chunkKept(slots: number, size: Size, chunk: number): number {
  const chunks = Math.ceil(slots / chunk), last = slots - (chunks - 1) * chunk;
  const kept = "budget" in size
    ? 1 + Math.max(0, Math.floor((size.budget - last) / chunk))
    : Math.max(1, Math.trunc(chunks * (1 - size.ratio)));
  return (Math.min(chunks, kept) - 1) * chunk + last;
}

/** The first slot of the first chunk that has nothing but window. */
function windowBegin(stored: number, { window_size, chunk_length }: ChunkSettings): number {
  return Math.ceil(Math.max(0, stored - window_size) / chunk_length) * chunk_length;
}

/** Whether no more slots remain, in any layer, than whole chunks of the window have: these tie, and go before all others. */
export function chunksOfWindowSuffice({ slots, kept }: BatchPrompt, settings: ChunkSettings): boolean {
  return slots.every((stored, layer) => kept[layer] <= stored - windowBegin(stored, settings));
}

/** Keeps whole chunks by SnapKV's scores, the same of every head (ChunkKV, Liu et al. 2025; kvpress' ChunkKVPress). */
export const chunkKv = defineMethod<ChunkSettings>({
  settings: { ...WINDOW_SETTINGS, chunk_length: whole(20, 1, 1024) },
  protects: false,
  need: ({ window_size }) => ({ kind: "queries", window: window_size }),
  kept: ({ slots }, size, { chunk_length }) => slots.map((stored) => chunkKept(stored, size, chunk_length)),
  variant: (prompt, settings) => Number(chunksOfWindowSuffice(prompt, settings)),
  record(batch, settings) {
    const { step, jobs, shape: { kvHeads } } = batch, { chunk_length } = settings;
    if (chunksOfWindowSuffice(batch.prompts[0], settings)) {
      // The last chunk, and the first ones of the window for the rest.
      return batch.gather(chosenByHost(batch, (out, at, { stored, kept }) => {
        const first = windowBegin(stored, settings), last = (stored - 1) % chunk_length + 1;
        for (let i = 0; i < kept; i++) out[at + i] = i < kept - last ? first + i : stored - kept + i;
      }));
    }
    const scores = windowScores(batch, settings), out = scoresOf(batch);
    step.kvChunk({ jobs, kvHeads, chunk: chunk_length, scores, out });
    step.release(scores);
    gatherTop(batch, out);
  },
});
