/** What of a prompt is in the prefix cache already. */
import type { Pool } from "../pool/mod.ts";
import { sharableTokens } from "./compression.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Leading prompt tokens that need not be computed. The last one always is, for its logits, and so are those that
 * compression wants to have seen.
 */
export function cachedTokens({ prompt, compressionPoint }: Sequence, pool: Pool): number {
  const { pageSlots } = pool.shape;
  const compression = compressionPoint === null ? null : prompt.compression;
  const most = Math.floor(sharableTokens(compression, prompt.ids.length) / pageSlots) * pageSlots;
  return Math.min(most, pool.cached(prompt.chain));
}

/** Some of its pictures' tokens have to be computed, and it holds no features. */
export function needsFeatures(sequence: Sequence, pool: Pool): boolean {
  const last = sequence.prompt.images.at(-1);
  if (last === undefined || sequence.pictures.length > 0) return false;
  return cachedTokens(sequence, pool) < last.firstToken + last.rows;
}
