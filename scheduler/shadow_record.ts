/** What shadow runs have seen, by method and ratio, and how far the server's own ratios are backed off for it. */
import { SHADOW_KEYS_MAX } from "../lib/core/limits.ts";
import { withSmaller } from "../lib/engine/compress/learned.ts";
import { meanPoolFactor } from "../lib/engine/compress/mean_pool.ts";
import type { LearnedFacts } from "../lib/engine/compress/segments.ts";
import type { Compression } from "./messages.ts";

/** Agreement below which a ratio is backed off: of ten tokens two may come after the first that differs. */
export const AGREEMENT_MIN = 0.8;
/** Runs at one ratio before it is judged. */
const RUNS_MIN = 8;
const NEWEST_SHARE = 0.2;
/** What a ratio is multiplied by at each step back. */
const STEP_BACK = 0.8;
const STEPS_MAX = 8;

export interface ShadowFigures {
  readonly method: string;
  readonly ratio: string;
  runs: number;
  /** Tokens of the uncompressed answers, and those before the first that differs. */
  tokens: number;
  equalTokens: number;
  /** Absolute differences of log-probabilities, summed over the equal tokens. */
  logprobDifference: number;
}

interface Backing {
  steps: number;
  runs: number;
  agreement: number;
}

export interface ShadowToken {
  readonly id: number;
  readonly logprob: number;
}

export class ShadowRecord {
  readonly #figures = new Map<string, ShadowFigures>();
  /** Two at most: of the server's default and of `auto`. */
  readonly #backings = new Map<string, Backing>();
  /** Requests that found no place to wait for their second answer, or lost it, or failed. */
  dropped = 0;
  /** Runs that gave way to a request, or to the server's end. */
  putOff = 0;

  figures(): Iterable<ShadowFigures> {
    return this.#figures.values();
  }

  /**
   * Two answers to one request: `asked` is what the server would do if nothing were backed off, null where the client
   * chose, which is counted and judges nothing; `done` is what was done.
   */
  seen(
    asked: Compression | null,
    done: Compression,
    compressed: readonly ShadowToken[],
    whole: readonly ShadowToken[],
  ): void {
    let equal = 0, difference = 0;
    while (equal < whole.length && compressed[equal]?.id === whole[equal].id) {
      difference += Math.abs(compressed[equal].logprob - whole[equal].logprob);
      equal++;
    }
    const key = keyOf(done), known = this.#figures.get(key);
    const figures = known ??
      {
        method: methodText(done),
        ratio: ratioText(done),
        runs: 0,
        tokens: 0,
        equalTokens: 0,
        logprobDifference: 0,
      };
    if (known !== undefined || this.#figures.size < SHADOW_KEYS_MAX) this.#figures.set(key, figures);
    figures.runs++;
    figures.tokens += whole.length;
    figures.equalTokens += equal;
    figures.logprobDifference += difference;
    if (asked !== null) this.#judge(keyOf(asked), equal / Math.max(1, whole.length));
  }

  /**
   * The server's choice, backed off as far as was found necessary; null when nothing smaller is left. `compressors`:
   * what was trained.
   */
  eased(asked: Compression, compressors: readonly LearnedFacts[]): Compression | null {
    const steps = this.#backings.get(keyOf(asked))?.steps ?? 0;
    if (steps === 0 || !("ratio" in asked.size)) return asked;
    const { ratio } = asked.size;
    if (asked.method === "learned") return withSmaller(asked, steps, compressors);
    if (asked.method !== "mean-pool") return { ...asked, size: { ratio: ratio * STEP_BACK ** steps } };
    const factor = meanPoolFactor(ratio)! - steps;
    return factor < 2 ? null : { ...asked, size: { ratio: 1 - 1 / factor } };
  }

  #judge(key: string, agreement: number): void {
    const backing = this.#backings.get(key) ?? { steps: 0, runs: 0, agreement: 1 };
    this.#backings.set(key, backing);
    backing.runs++;
    const share = Math.max(NEWEST_SHARE, 1 / backing.runs);
    backing.agreement += share * (agreement - backing.agreement);
    if (backing.runs < RUNS_MIN || backing.agreement >= AGREEMENT_MIN || backing.steps === STEPS_MAX) return;
    backing.steps++;
    backing.runs = 0;
  }
}

function methodText({ method, quantise }: Compression): string {
  return quantise === null ? method : `${method}:int${quantise.bits}`;
}

function ratioText({ method, size }: Compression): string {
  if (method === "none") return "0.00";
  return "ratio" in size ? size.ratio.toFixed(2) : `budget ${size.budget}`;
}

function keyOf(compression: Compression): string {
  return `${methodText(compression)} ${ratioText(compression)}`;
}
