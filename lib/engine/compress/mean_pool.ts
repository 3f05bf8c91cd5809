import { type BatchPrompt, defineMethod, type Size } from "./method.ts";

/** f = 1 / (1 − ratio) when that is a whole number of at least 2 (5x is 0.8), otherwise null. */
export function meanPoolFactor(ratio: number): number | null {
  const factor = 1 / (1 - ratio);
  const whole = Math.round(factor);
  return whole >= 2 && Math.abs(factor - whole) < 1e-6 ? whole : null;
}

/** floor(slots / f) means and the remainder raw. */
function keptByFactor(slots: number, factor: number): number {
  return Math.floor(slots / factor) + slots % factor;
}

/** The ratio's factor, or the least one that keeps to the budget; 1 where all slots may stay. */
function factorOf(slots: number, size: Size): number {
  if ("ratio" in size) return meanPoolFactor(size.ratio)!;
  let factor = 1;
  while (keptByFactor(slots, factor) > size.budget && factor < slots) factor++;
  return factor;
}

/** Every f consecutive keys and values of a head become their mean: the trivial member of the learned family. */
export const meanPool = defineMethod<Record<never, never>>({
  settings: {},
  rerotates: false,
  protects: false,
  queryAgnostic: true,
  kept: ({ slots }, size) => slots.map((stored) => keptByFactor(stored, factorOf(stored, size))),
  sizeProblem: (size) =>
    "ratio" in size && meanPoolFactor(size.ratio) === null
      ? `ratio of mean-pool must make 1 / (1 - ratio) a whole number (0.5, 0.75, 0.8, …), got ${size.ratio}`
      : null,
  variant: ({ slots, size }: BatchPrompt) => factorOf(slots[0], size),
  record({ step, pages, jobs, prompts: [{ slots, size }] }) {
    step.kvMean({ pages, jobs, factor: factorOf(slots[0], size) });
  },
});
