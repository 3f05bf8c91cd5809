/** Left truncation as MileBench does it: the instruction and the end of the context stay, the middle goes. */

/** Text before a picture, or before the context's end. */
export interface Fragment<T> {
  readonly text: string;
  /** The picture behind the text; null at the end. */
  readonly image: T | null;
}

export type TokenCount = (text: string) => number;

/** The last words of `text` that fit into `budget` tokens. */
function lastWords(text: string, budget: number, count: TokenCount): string {
  const words = text.split(/(?<=\s)/);
  let from = words.length;
  while (from > 0 && count(words.slice(from - 1).join("")) <= budget) from--;
  return words.slice(from).join("");
}

/**
 * Walks the fragments from the right: a picture and the text before it are kept while both fit into `budget` tokens. When
 * not even the last text fits, its end is kept.
 */
export function truncateLeft<T>(
  fragments: readonly Fragment<T>[],
  budget: number,
  imageTokens: number,
  count: TokenCount,
): Fragment<T>[] {
  const kept: Fragment<T>[] = [];
  let used = 0;
  for (const { text, image } of [...fragments].reverse()) {
    if (image !== null && used + imageTokens > budget) break;
    if (image !== null) used += imageTokens;
    const tokens = count(text);
    if (used + tokens > budget) {
      if (kept.length === 0) kept.unshift({ text: lastWords(text, budget - used, count), image });
      // The picture fits, the text before it does not.
      else if (image !== null) kept.unshift({ text: "", image });
      break;
    }
    used += tokens;
    kept.unshift({ text, image });
  }
  return kept;
}
