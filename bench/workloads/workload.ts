/** What a workload is made from. */
import type { Draws } from "../draws.ts";
import type { LoadRequest } from "../load/request.ts";

export interface WorkloadOptions {
  readonly count: number;
  readonly draws: Draws;
  /** One pixel of every picture differs from request to request, so that no cache of pictures helps. */
  readonly fresh: boolean;
  /** Exactly so many tokens are generated; null lets the model end its answer. */
  readonly outputTokens: number | null;
  /** A directory of the real files; null draws pictures and asks about them. */
  readonly data: string | null;
  /** Positions of the served model; longer prompts lose their beginning. */
  readonly contextTokens: number;
  /** Positions that one picture takes, with the text the template puts beside it. */
  readonly imageTokens: number;
}

export type Workload = (options: WorkloadOptions) => Promise<LoadRequest[]>;

/** The longest answer asked for where the model may end it. */
export const ANSWER_TOKENS_MAX = 96;

/** An answer's length, and whether it can be judged: one that runs on past its end cannot. */
export function lengthOf(
  outputTokens: number | null,
): { readonly maxTokens: number; readonly fixedLength: boolean } {
  return { maxTokens: outputTokens ?? ANSWER_TOKENS_MAX, fixedLength: outputTokens !== null };
}
