/** Prompts that are prefilled, compressed and continued on a bare engine, with pages scattered over the pool. */
import type { Compression, ImageSpan, SlotSpan } from "../../lib/engine/compress/method.ts";
import { keptByLayer, needOf } from "../../lib/engine/compress/mod.ts";
import { needBytes } from "../../lib/engine/compress/need.ts";
import { packedByLayer, packedBytes } from "../../lib/engine/compress/pack.ts";
import type {
  CompressSequence,
  Engine,
  ForwardSequence,
  PackedSlots,
  SampledToken,
} from "../../lib/engine/engine.ts";
import { Draw } from "./cases.ts";
import { GREEDY_TOP5, plainPositions } from "./generate.ts";

/** Hands out pages in random order, never twice. */
export class PageDeck {
  readonly #free: number[];

  constructor(readonly engine: Engine, seed: number) {
    this.#free = new Draw(seed).shuffled(engine.facts.pageCount);
  }

  pages(count: number): Uint32Array {
    if (count > this.#free.length) throw new Error("the test's pool is too small");
    return Uint32Array.from(this.#free.splice(0, count));
  }

  /** Tables for as many slots in each layer. */
  tables(slots: ArrayLike<number>): Uint32Array[] {
    const { pageSlots } = this.engine.facts;
    return Array.from(slots, (count) => this.pages(Math.ceil(count / pageSlots)));
  }
}

/** Tokens that may follow a compressed prompt. */
const ROOM = 32;

export interface PromptOptions {
  readonly images?: readonly ImageSpan[];
  readonly protect?: readonly SlotSpan[];
  readonly seed?: readonly [number, number];
}

/** One prompt and the compression it is for. */
export class CompressedPrompt {
  readonly sequence: CompressSequence;
  #stored = 0;

  constructor(
    readonly engine: Engine,
    deck: PageDeck,
    readonly tokens: Uint32Array,
    compression: Compression,
    options: PromptOptions = {},
  ) {
    const { layers, shape, pageBytes } = engine.facts, promptTokens = tokens.length;
    const slots = new Uint32Array(layers).fill(promptTokens), images = options.images ?? [];
    const { protect } = options;
    const kept = keptByLayer(compression, { slots, images, protect });
    const need = needOf(compression);
    this.sequence = {
      ...{ compression, slots, kept, images, protect },
      sourceTables: deck.tables(slots),
      targetTables: deck.tables(kept.map((count) => count + ROOM)),
      keep: need === null ? null : {
        need,
        pages: deck.pages(Math.ceil(needBytes(need, shape, layers, promptTokens) / pageBytes)),
        promptTokens,
      },
      packed: this.#packedOf(deck, compression, kept),
      seed: options.seed ?? [1, 2],
    };
  }

  #packedOf(deck: PageDeck, { quantise }: Compression, kept: Uint32Array): PackedSlots | null {
    if (quantise === null) return null;
    const { shape: { kvHeads, headDim }, kvDtype: dtype, pageBytes, pageSlots } = this.engine.facts;
    const slots = packedByLayer(kept), bytes = packedBytes({ kvHeads, headDim, dtype }, quantise.bits, slots);
    return {
      bits: quantise.bits,
      slots,
      pages: deck.pages(Math.ceil(bytes / pageBytes)),
      room: deck.pages(Math.max(...slots) / pageSlots),
    };
  }

  /** The next `count` tokens of the prompt; the last one samples. */
  part(count: number): ForwardSequence {
    const first = this.#stored, tokens = this.tokens.subarray(first, first + count);
    this.#stored += tokens.length;
    return {
      tokens,
      positions: plainPositions(first, tokens.length),
      slotBase: new Uint32Array(this.engine.facts.layers).fill(first),
      pageTables: this.sequence.sourceTables,
      sampling: this.#stored === this.tokens.length ? GREEDY_TOP5 : null,
      sampled: 0,
      keep: this.sequence.keep,
    };
  }

  /** A token fed `index` tokens after the compressed prompt. */
  tokenPart(id: number, index: number): ForwardSequence {
    const { kept, targetTables, packed, compression: { rerotate } } = this.sequence;
    const { pageSlots } = this.engine.facts;
    const position = (rerotate ? kept[0] : this.tokens.length) + index;
    return {
      tokens: Uint32Array.of(id),
      positions: plainPositions(position, 1),
      slotBase: kept.map((count) => count + index),
      pageTables: targetTables.map((table, layer) => table.subarray((packed?.slots[layer] ?? 0) / pageSlots)),
      packed,
      sampling: GREEDY_TOP5,
      sampled: index + 1,
    };
  }
}

/** The tokens sampled by each part, which all sample. */
export async function sampledBy(engine: Engine, parts: readonly ForwardSequence[]): Promise<SampledToken[]> {
  return (await engine.forward(parts)).map((result, index) => {
    if (result === null || result === "not_finite") throw new Error(`part ${index} sampled ${result}`);
    return result;
  });
}
