/** A stage's batching limits, and when a batch is released. */

export interface WindowLimits {
  /** Members of a batch at most. */
  readonly items: number;
  /** Tokens of a batch at most (features for encode, stored slots for compress). One member may exceed it alone. */
  readonly tokens: number;
  /** Milliseconds that the first member waits for company while the device has other work; an idle device never waits. */
  readonly waitMs: number;
}

/** The stages that batch work for the device. */
export const BATCHING_STAGES = ["encode", "prefill", "compress", "decode"] as const;
export type BatchingStage = typeof BATCHING_STAGES[number];
export type Windows = Readonly<Record<BatchingStage, WindowLimits>>;

/**
 * Bounds that a server starts with. What a batch is within them follows from memory, from the measured knee and from the
 * target of inter-token latency. A processor gains little from a larger batch, so its stages wait for nobody.
 */
export function defaultWindows(maxNumSeqs: number, stepTokensMax: number, software: boolean): Windows {
  return {
    encode: { items: 16, tokens: stepTokensMax, waitMs: software ? 0 : 2 },
    prefill: { items: 64, tokens: stepTokensMax, waitMs: software ? 0 : 5 },
    compress: { items: 64, tokens: 131_072, waitMs: software ? 0 : 2 },
    decode: { items: maxNumSeqs, tokens: maxNumSeqs, waitMs: 0 },
  };
}
