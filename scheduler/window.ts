/** A stage's batching limits, and when a batch is released. */

export interface WindowLimits {
  /** Members of a batch at most. */
  readonly items: number;
  /** Tokens of a batch at most (features for encode, stored slots for compress). One member may exceed it alone. */
  readonly tokens: number;
  /** Milliseconds that the first member waits for company. */
  readonly waitMs: number;
}

/** The stages that batch work for the device. */
export const BATCHING_STAGES = ["encode", "prefill", "compress", "decode"] as const;
export type BatchingStage = typeof BATCHING_STAGES[number];
export type Windows = Readonly<Record<BatchingStage, WindowLimits>>;

/**
 * Windows that a server starts with: the paper's 1:3:9 order of batch sizes, bounded by what one step can use. A processor
 * gains nothing from prompts beyond some hundred rows, so its prefill steps are shorter and wait for nobody: first tokens
 * leave earlier.
 */
export function defaultWindows(maxNumSeqs: number, stepTokensMax: number, software: boolean): Windows {
  const prefillTokens = software ? 1024 : 2048;
  return {
    encode: { items: 8, tokens: stepTokensMax, waitMs: software ? 0 : 2 },
    prefill: { items: 16, tokens: Math.min(prefillTokens, stepTokensMax), waitMs: software ? 0 : 5 },
    compress: { items: 32, tokens: 65_536, waitMs: 2 },
    decode: { items: maxNumSeqs, tokens: maxNumSeqs, waitMs: 0 },
  };
}

/** Work that could join a batch: how large it is and since when it waits. */
export interface WindowEntry {
  readonly tokens: number;
  readonly sinceMs: number;
}

/** How many of the first entries make a batch, and whether the window is full with them. */
export function fillWindow(
  entries: readonly WindowEntry[],
  limits: WindowLimits,
): { items: number; full: boolean } {
  let items = 0, tokens = 0;
  while (items < entries.length && items < limits.items) {
    tokens += entries[items].tokens;
    if (tokens > limits.tokens && items > 0) return { items, full: true };
    items++;
  }
  return { items, full: items >= limits.items || tokens >= limits.tokens };
}

/**
 * When a batch that is not full is released: at once when nobody could join it soon (`company` false), otherwise when
 * its first member has waited long enough.
 */
export function releaseAtMs(oldestSinceMs: number, limits: WindowLimits, company: boolean): number {
  return company ? oldestSinceMs + limits.waitMs : -Infinity;
}
