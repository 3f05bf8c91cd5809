/** Runs prompts on a bare engine, without scheduler or pool: pages are handed out in order and never reused. */
import { FEATURE_ROW } from "../../lib/ops/backend.ts";
import type { Engine, ForwardSequence, SampledToken, SamplingParams } from "../../lib/engine/engine.ts";

export const GREEDY_TOP5: SamplingParams = {
  temperature: 0,
  topP: 1,
  minP: 0,
  topK: 0,
  seed: [0, 0],
  logprobs: 5,
};

/** Replaces each placeholder by the next row of the embedding store, counting from `firstRow`. */
export function placeFeatures(
  promptIds: readonly number[],
  imageTokenId: number | null,
  firstRow: number,
): Uint32Array {
  let row = firstRow;
  return Uint32Array.from(promptIds, (id) => id === imageTokenId ? FEATURE_ROW + row++ : id);
}

/** Positions 0 … count − 1 from `first`, three equal numbers a token. */
export function plainPositions(first: number, count: number): Uint32Array {
  return Uint32Array.from({ length: 3 * count }, (_, i) => first + Math.floor(i / 3));
}

/** Page tables of a sequence of at most `slots`, taken from `next` on: layer after layer, page after page. */
export function takePages(engine: Engine, next: { page: number }, slots: number): Uint32Array[] {
  const count = Math.ceil(slots / engine.facts.pageSlots);
  return Array.from({ length: engine.facts.layers }, () => {
    const first = next.page;
    next.page += count;
    if (next.page > engine.facts.pageCount) throw new Error("the test's pool is too small");
    return Uint32Array.from({ length: count }, (_, i) => first + i);
  });
}

/** One prompt's first forward part. */
export function promptPart(
  engine: Engine,
  tokens: Uint32Array,
  pageTables: readonly Uint32Array[],
  sampling: SamplingParams | null = GREEDY_TOP5,
): ForwardSequence {
  return {
    tokens,
    positions: plainPositions(0, tokens.length),
    slotBase: new Uint32Array(engine.facts.layers),
    pageTables,
    sampling,
    sampled: 0,
  };
}

/** Prefills all prompts as one ragged batch, then decodes all of them together, `count` tokens each. */
export async function generate(
  engine: Engine,
  prompts: readonly Uint32Array[],
  count: number,
  sampling: SamplingParams = GREEDY_TOP5,
): Promise<SampledToken[][]> {
  const next = { page: 0 };
  const tables = prompts.map((tokens) => takePages(engine, next, tokens.length + count));
  const out: SampledToken[][] = prompts.map(() => []);
  const keep = (results: readonly (SampledToken | "not_finite" | null)[]) => {
    for (const [index, result] of results.entries()) {
      if (result === null || result === "not_finite") throw new Error(`sequence ${index} sampled ${result}`);
      out[index].push(result);
    }
  };
  keep(await engine.forward(prompts.map((tokens, i) => promptPart(engine, tokens, tables[i], sampling))));
  for (let step = 1; step < count; step++) {
    keep(
      await engine.forward(prompts.map((tokens, i) => ({
        tokens: Uint32Array.of(out[i][step - 1].id),
        positions: plainPositions(tokens.length + step - 1, 1),
        slotBase: new Uint32Array(engine.facts.layers).fill(tokens.length + step - 1),
        pageTables: tables[i],
        sampling,
        sampled: step,
      }))),
    );
  }
  return out;
}
