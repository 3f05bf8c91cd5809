/** A block of prompts in the pool: prefilled once, compressed into copies by several methods, all of them answered together. */
import type { Compression, PromptShape } from "../../engine/compress/method.ts";
import { keptByLayer } from "../../engine/compress/mod.ts";
import { type Need, needBytes } from "../../engine/compress/need.ts";
import { packedByLayer, packedBytes } from "../../engine/compress/pack.ts";
import type {
  CompressSequence,
  Engine,
  EngineFacts,
  ForwardSequence,
  PackedSlots,
  SampledToken,
  SamplingParams,
  SequenceKeep,
} from "../../engine/engine.ts";
import { KV_ELEMENT_BYTES } from "../../ops/kv.ts";
import type { Asked } from "./asked.ts";

/** The longest answer, as the reference measurement has it. */
const ANSWER_TOKENS_MAX = 96;

/** Prompts of a block at most. */
const BLOCK_PROMPTS_MAX = 64;

const GREEDY: SamplingParams = { temperature: 0, topP: 1, minP: 0, topK: 0, seed: [0, 0], logprobs: null };

/** An answer's tokens, and what its prompt's cache holds: mean slots of a layer, and bytes. */
export interface Answered {
  readonly ids: readonly number[];
  readonly slots: number;
  readonly bytes: number;
}

/** One prompt's cache, from which an answer goes on. */
interface Cache {
  /** Which of the block. */
  readonly prompt: number;
  /** Slots stored, per layer. */
  readonly slots: Uint32Array;
  readonly pageTables: readonly Uint32Array[];
  readonly packed: PackedSlots | null;
}

/** Pages of a prompt of so many tokens and its answer. */
function pagesOf(tokens: number, { pageSlots, layers }: EngineFacts): number {
  return Math.ceil((tokens + ANSWER_TOKENS_MAX) / pageSlots) * layers;
}

/** The prompt behind the last one of a block that begins with `first`: whole caches, what is kept and `copies` of each fit the pool. */
export function blockEnd(
  asked: readonly Asked[],
  first: number,
  need: Need | null,
  copies: number,
  facts: EngineFacts,
): number {
  let free = facts.pageCount, end = first;
  while (end < asked.length && end - first < BLOCK_PROMPTS_MAX) {
    const tokens = asked[end].tokens.length;
    const kept = need === null ? 0 : needBytes(need, facts.shape, facts.layers, tokens) / facts.pageBytes;
    // A packed copy has its codes and its room beside it, together less than the copy itself.
    free -= (1 + 2 * copies) * pagesOf(tokens, facts) + Math.ceil(kept);
    if (free < 0) break;
    end++;
  }
  return end;
}

export class Block {
  readonly #facts: EngineFacts;
  readonly #whole: readonly Cache[];
  readonly #keeps: readonly (SequenceKeep | null)[];
  readonly #ends: ReadonlySet<number>;
  #firstIds: readonly number[] = [];
  /** Tokens of an answer at which it is given up, by prompt. */
  #limits: readonly number[];
  #nextPage = 0;

  /** `ends`: tokens that end an answer. */
  constructor(
    private readonly engine: Engine,
    private readonly asked: readonly Asked[],
    need: Need | null,
    ends: readonly number[],
  ) {
    this.#facts = engine.facts;
    this.#ends = new Set(ends);
    this.#limits = asked.map(() => ANSWER_TOKENS_MAX);
    const { layers, shape, pageBytes } = engine.facts;
    this.#whole = asked.map(({ tokens }, prompt) => {
      const slots = new Uint32Array(layers).fill(tokens.length);
      return { prompt, slots, pageTables: this.#tables(slots), packed: null };
    });
    this.#keeps = asked.map(({ tokens: { length } }) =>
      need === null ? null : {
        need,
        pages: this.#pages(Math.ceil(needBytes(need, shape, layers, length) / pageBytes)),
        promptTokens: length,
      }
    );
  }

  /** Stores all prompts, in steps as large as the engine takes, and answers from the whole caches. To be called first. */
  async wholeAnswers(): Promise<Answered[]> {
    const firstIds: number[] = [];
    for (let first = 0; first < this.asked.length;) {
      const parts: ForwardSequence[] = [];
      for (let room = this.#facts.stepTokensMax; first < this.asked.length; first++) {
        const { tokens } = this.asked[first];
        room -= tokens.length;
        if (room < 0 && parts.length > 0) break;
        parts.push({
          tokens,
          positions: positionsOf(0, tokens.length),
          slotBase: new Uint32Array(this.#facts.layers),
          pageTables: this.#whole[first].pageTables,
          sampling: GREEDY,
          sampled: 0,
          keep: this.#keeps[first],
        });
      }
      firstIds.push(...idsOf(await this.engine.forward(parts)));
    }
    this.#firstIds = firstIds;
    const answers = await this.#answersFrom(this.#whole);
    this.#limits = answers.map(({ ids }, i) =>
      Math.min(ANSWER_TOKENS_MAX, Math.max(ids.length, this.asked[i].answerTokensMax))
    );
    return answers;
  }

  /**
   * Answers of every prompt by method, from a copy compressed as each of `methods` says. As in a server, the first token was
   * sampled before. `firstSeed` is the seed of the block's first prompt.
   */
  async answers(
    methods: readonly ((prompt: PromptShape) => Compression)[],
    firstSeed: number,
  ): Promise<Answered[][]> {
    const caches: Cache[] = [];
    for (const method of methods) caches.push(...await this.#compressed(method, firstSeed));
    const answered = await this.#answersFrom(caches), count = this.asked.length;
    return methods.map((_, at) => answered.slice(at * count, (at + 1) * count));
  }

  async #compressed(
    compressionOf: (prompt: PromptShape) => Compression,
    firstSeed: number,
  ): Promise<Cache[]> {
    const sequences = this.asked.map(({ images }, i): CompressSequence => {
      const { slots, pageTables } = this.#whole[i];
      const compression = compressionOf({ slots, images });
      const kept = keptByLayer(compression, { slots, images });
      return {
        ...{ compression, slots, kept, images },
        sourceTables: pageTables,
        targetTables: this.#tables(kept),
        keep: this.#keeps[i],
        packed: this.#packedOf(compression, kept),
        seed: [firstSeed + i, 0],
      };
    });
    await this.engine.compress(sequences);
    return sequences.map(({ kept, targetTables, packed }, prompt) => ({
      ...{ prompt, packed },
      slots: kept,
      pageTables: targetTables.map((table, layer) =>
        table.subarray((packed?.slots[layer] ?? 0) / this.#facts.pageSlots)
      ),
    }));
  }

  async #answersFrom(caches: readonly Cache[]): Promise<Answered[]> {
    const ids = caches.map(({ prompt }) => [this.#firstIds[prompt]]);
    const goesOn = (i: number) =>
      !this.#ends.has(ids[i][ids[i].length - 1]) &&
      ids[i].length < this.#limits[caches[i].prompt];
    let running = caches.map((_, i) => i).filter(goesOn);
    while (running.length > 0) {
      const parts = running.map((i) => this.#nextPart(caches[i], ids[i]));
      for (const [at, id] of idsOf(await this.engine.forward(parts)).entries()) ids[running[at]].push(id);
      running = running.filter(goesOn);
    }
    return caches.map((cache, i) => ({ ids: ids[i], ...this.#sizeOf(cache) }));
  }

  #nextPart({ prompt, slots, pageTables, packed }: Cache, ids: readonly number[]): ForwardSequence {
    const fed = ids.length - 1;
    return {
      tokens: Uint32Array.of(ids[fed]),
      positions: positionsOf(this.asked[prompt].tokens.length + fed, 1),
      slotBase: slots.map((count) => count + fed),
      pageTables,
      packed,
      sampling: GREEDY,
      sampled: ids.length,
    };
  }

  #sizeOf({ slots, packed }: Cache): { slots: number; bytes: number } {
    const { shape: { kvHeads, headDim }, kvDtype: dtype, layers } = this.#facts;
    const slotBytes = 2 * kvHeads * headDim * KV_ELEMENT_BYTES[dtype];
    const all = slots.reduce((sum, count) => sum + count, 0);
    const codes = packed?.slots.reduce((sum, count) => sum + count, 0) ?? 0;
    const codeBytes = packed === null
      ? 0
      : packedBytes({ kvHeads, headDim, dtype }, packed.bits, packed.slots);
    return { slots: all / layers, bytes: (all - codes) * slotBytes + codeBytes };
  }

  #packedOf({ quantise }: Compression, kept: Uint32Array): PackedSlots | null {
    if (quantise === null) return null;
    const { shape: { kvHeads, headDim }, kvDtype: dtype, pageBytes, pageSlots } = this.#facts;
    const slots = packedByLayer(kept), bytes = packedBytes({ kvHeads, headDim, dtype }, quantise.bits, slots);
    return {
      bits: quantise.bits,
      slots,
      pages: this.#pages(Math.ceil(bytes / pageBytes)),
      room: this.#pages(Math.max(...slots) / pageSlots),
    };
  }

  /** Per layer, pages for so many slots and the answer behind them. */
  #tables(slots: Uint32Array): Uint32Array[] {
    return Array.from(
      slots,
      (count) => this.#pages(Math.ceil((count + ANSWER_TOKENS_MAX) / this.#facts.pageSlots)),
    );
  }

  #pages(count: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.#nextPage++);
  }
}

/** Positions from `first` on, three equal numbers a token. */
function positionsOf(first: number, count: number): Uint32Array {
  return Uint32Array.from({ length: 3 * count }, (_, i) => first + Math.floor(i / 3));
}

function idsOf(results: readonly (SampledToken | "not_finite" | null)[]): number[] {
  return results.map((result) => {
    if (result === null || result === "not_finite") throw new Error(`a token was not sampled: ${result}`);
    return result.id;
  });
}
