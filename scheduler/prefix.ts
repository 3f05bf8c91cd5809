/** What of a prompt is in the prefix cache already. */
import type { KvPool } from "../pool/mod.ts";
import type { Sequence } from "./sequence.ts";

/** Leading prompt tokens that need not be computed; at least one is always left, whose logits are sampled from. */
export function cachedTokens({ prompt }: Sequence, pool: KvPool): number {
  const { pageSlots } = pool.shape;
  const most = Math.floor((prompt.ids.length - 1) / pageSlots) * pageSlots;
  return Math.min(most, pool.cached(prompt.chain));
}

/** Some of its pictures' tokens have to be computed, and it holds no features. */
export function needsFeatures(sequence: Sequence, pool: KvPool): boolean {
  const last = sequence.prompt.images.at(-1);
  if (last === undefined || sequence.pictures.length > 0) return false;
  return cachedTokens(sequence, pool) < last.firstToken + last.rows;
}
