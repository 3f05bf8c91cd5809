/** Counts of one cell and kind of question, and what follows from them. */
import type { Cell } from "./cells.ts";

/** Sums over questions; both answers of a question are counted together, so that differences are paired. */
export interface Tally {
  questions: number;
  right: number;
  fullRight: number;
  /** Right with the whole cache and wrong with this one, and the other way round. */
  onlyFull: number;
  onlyCell: number;
  /** Answers with the very text of the whole cache. */
  sameText: number;
  promptSlots: number;
  /** Mean over layers. */
  storedSlots: number;
  promptBytes: number;
  storedBytes: number;
}

export type TallyField = keyof Tally;

export const TALLY_FIELDS = [
  "questions",
  "right",
  "fullRight",
  "onlyFull",
  "onlyCell",
  "sameText",
  "promptSlots",
  "storedSlots",
  "promptBytes",
  "storedBytes",
] as const satisfies readonly TallyField[];

export function emptyTally(): Tally {
  return {
    questions: 0,
    right: 0,
    fullRight: 0,
    onlyFull: 0,
    onlyCell: 0,
    sameText: 0,
    promptSlots: 0,
    storedSlots: 0,
    promptBytes: 0,
    storedBytes: 0,
  };
}

/** One row of the results: a cell and a kind of question. */
export interface SweepRow {
  readonly cell: Cell;
  readonly type: string;
  readonly tally: Tally;
}

export function sumOf(tallies: readonly Tally[]): Tally {
  const sum = emptyTally();
  for (const tally of tallies) for (const field of TALLY_FIELDS) sum[field] += tally[field];
  return sum;
}

export interface Difference {
  /** Of the shares of right answers, this cell's less the whole cache's. */
  readonly mean: number;
  /** Half the width of its 95 % interval. */
  readonly half: number;
}

/** Each question adds −1, 0 or 1: mean and normal interval of that, whose variance is E[x²] − mean². */
export function pairedDifference({ questions, onlyFull, onlyCell }: Tally): Difference {
  const mean = (onlyCell - onlyFull) / questions;
  const variance = (onlyCell + onlyFull) / questions - mean ** 2;
  return { mean, half: 1.96 * Math.sqrt(variance / questions) };
}

/** Kinds of questions that have several pictures. */
export function ofSeveral(type: string): boolean {
  return type.startsWith("multi_");
}
