import { type BatchPrompt, defineMethod, type Size } from "./method.ts";

/**
 * Ratios are written with few digits: 0.667 makes 3.003, and 3 is meant. Wide enough for three digits up to 10 to one, and
 * in the whole so narrow that not every large factor is nearly a whole one.
 */
const FACTOR_TOLERANCE = 0.005, FACTOR_OFF_MAX = 0.25;

/** f = 1 / (1 − ratio) when that is nearly a whole number of at least 2 (5x is 0.8), otherwise null. */
export function meanPoolFactor(ratio: number): number | null {
  const factor = 1 / (1 - ratio);
  const whole = Math.round(factor);
  return whole >= 2 && Math.abs(factor - whole) <= Math.min(FACTOR_OFF_MAX, FACTOR_TOLERANCE * whole)
    ? whole
    : null;
}

/** The ratio of a factor, exactly. */
export function ratioOf(factor: number): number {
  return 1 - 1 / factor;
}

/** The ratio of a factor in as few digits as name it: three suffice up to 10, four up to 64. */
export function ratioText(factor: number): string {
  return `${Number(ratioOf(factor).toFixed(factor <= 10 ? 3 : 4))}`;
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
  sizeOf(size) {
    if (!("ratio" in size)) return size;
    const factor = meanPoolFactor(size.ratio);
    return factor === null
      ? `ratio of mean-pool must make 1 / (1 - ratio) a whole number (0.5, 0.75, 0.8, …), got ${size.ratio}`
      : { ratio: ratioOf(factor) };
  },
  variant: ({ slots, size }: BatchPrompt) => factorOf(slots[0], size),
  record({ step, pages, jobs, prompts: [{ slots, size }] }) {
    step.kvMean({ pages, jobs, factor: factorOf(slots[0], size) });
  },
});
