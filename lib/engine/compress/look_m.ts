import { defineMethod, keptBySize, type PromptShape, scoresOf, type Size, topSlots } from "./method.ts";

interface LookSettings {
  /** Share of what is kept that goes to the most recent tokens. */
  readonly recent_share: number;
}

/** Above every column sum, which is at most the prompt's length. */
const FIRST = 1e30;

/** Slots of the recent window. */
function recentOf(slots: number, size: Size, { recent_share }: LookSettings): number {
  return Math.trunc(keptBySize(slots, size) * recent_share);
}

/** Slots of one layer that stand for text and lie before the recent window. */
function textOutside(prompt: PromptShape, slots: number, recent: number): number {
  const end = slots - recent;
  const pictures = prompt.images.reduce(
    (sum, { first, count }) => sum + Math.max(0, Math.min(first + count, end) - first),
    0,
  );
  return end - pictures;
}

/**
 * Text stays; of the pictures' tokens those that were looked at most, and the others are merged into what stays by key
 * similarity, half way (LOOK-M, Wan et al. 2024: text-prior, pivotal merge). Where the text alone is more than the budget
 * it stays all the same, so a prompt without pictures is not compressed.
 */
export const lookM = defineMethod<LookSettings>({
  settings: { recent_share: { kind: "real", least: 0, most: 1, usual: 0.5 } },
  rerotates: false,
  protects: false,
  need: () => ({ kind: "columns" }),
  kept: (prompt, size, settings) =>
    prompt.slots.map((slots) => {
      const recent = recentOf(slots, size, settings);
      return recent + Math.max(textOutside(prompt, slots, recent), keptBySize(slots, size) - recent);
    }),
  record(batch, settings) {
    const { step, pages, jobs, shape, prompts } = batch, scores = scoresOf(batch);
    const bias = new Float32Array(jobs.jobs * jobs.slotsMax).fill(FIRST);
    let job = 0;
    for (const { slots, size, images } of prompts) {
      for (const stored of slots) {
        const row = bias.subarray(job * jobs.slotsMax, ++job * jobs.slotsMax);
        const end = stored - recentOf(stored, size, settings);
        for (const { first, count } of images) {
          row.fill(0, first, Math.max(first, Math.min(first + count, end)));
        }
      }
    }
    const upload = step.upload(jobs.jobs, jobs.slotsMax, bias);
    step.kvColumns({ pages, jobs, shape, seen: false, bias: upload, scores });
    const kept = batch.chosen(topSlots(batch, scores));
    step.kvMerge({ pages, jobs, kept });
    batch.dropChosen(kept);
  },
});
