/** How the tokens of a step are cut into attention tiles: one list a map or segment table, shared by all layers. */
import { assert } from "../core/assert.ts";
import type { Indices } from "../ops/tensor.ts";
import type { GpuIndices, Recorder } from "./recorder.ts";

/** Tiles of one kernel variant; three words each: sequence, first token, tokens. */
export interface TileList {
  /** Tokens that the variant takes at most. */
  readonly tokens: number;
  readonly count: number;
  readonly list: GpuIndices;
}

/** Lists by what they were cut from, then by `tokensMax`. They go with the step's indices. */
const known = new WeakMap<Indices, Map<number, readonly TileList[]>>();

/**
 * Tiles of at most `tokensMax` tokens, none across two sequences; those of a single token (decode) apart, because a
 * smaller variant takes them. `source` are the step's indices that `bounds` was read from: [n + 1] first tokens of the
 * sequences, the last entry is the end.
 */
export function tileLists(
  recorder: Recorder,
  source: Indices,
  bounds: Uint32Array,
  tokensMax: number,
): readonly TileList[] {
  let byTokens = known.get(source);
  if (byTokens === undefined) known.set(source, byTokens = new Map());
  let lists = byTokens.get(tokensMax);
  if (lists === undefined) byTokens.set(tokensMax, lists = upload(recorder, bounds, tokensMax));
  return lists;
}

function upload(recorder: Recorder, bounds: Uint32Array, tokensMax: number): TileList[] {
  const { single, many } = cutTiles(bounds, tokensMax);
  return [{ tokens: 1, words: single }, { tokens: tokensMax, words: many }]
    .filter(({ words }) => words.length > 0)
    .map(({ tokens, words }) => ({
      tokens,
      count: words.length / 3,
      list: recorder.upload(Uint32Array.from(words)),
    }));
}

/** The words of the tiles of one token and of those of more. A sequence without tokens has none. */
export function cutTiles(bounds: Uint32Array, tokensMax: number): { single: number[]; many: number[] } {
  const single: number[] = [], many: number[] = [];
  for (let sequence = 0; sequence + 1 < bounds.length; sequence++) {
    const end = bounds[sequence + 1];
    assert(bounds[sequence] <= end, "bounds of sequences ascend");
    for (let first = bounds[sequence]; first < end; first += tokensMax) {
      const tokens = Math.min(tokensMax, end - first);
      (tokens === 1 ? single : many).push(sequence, first, tokens);
    }
  }
  return { single, many };
}
