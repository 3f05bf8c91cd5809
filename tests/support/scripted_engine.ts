/**
 * An engine without a model. It keeps what every slot of every page holds, and a sampled token is a hash of all that
 * the sequence's tables reach, so a wrong table, slot, position or feature row changes the output. What a request must
 * answer can be computed without pages ({@link expectedTokens}).
 */
import { assert, AssertionError } from "../../lib/core/assert.ts";
import { wholeTable } from "../../lib/engine/compress/pack.ts";
import type {
  CompressSequence,
  EncodeImage,
  Engine,
  EngineFacts,
  ForwardSequence,
  SampledToken,
} from "../../lib/engine/engine.ts";
import { FEATURE_ROW } from "../../lib/ops/backend.ts";
import { ScriptedPages } from "./scripted_pages.ts";

export type ScriptedCall = "encode" | "forward" | "compress";

export interface ScriptedBehaviour {
  /** Resolves when the device has finished a call of `items` members with `tokens` tokens, features or stored slots, before which `slots` are stored. */
  readonly delay: (call: ScriptedCall, items: number, tokens: number, slots: number) => Promise<void>;
  /** Whether this call fails as a whole. */
  readonly fails: (call: ScriptedCall) => boolean;
  /** Whether this row's logits are not numbers. */
  readonly notFinite: () => boolean;
}

/** The scheduler sends the next step while one runs, and no more. */
const CALLS_MAX = 2;

const WELL_BEHAVED: ScriptedBehaviour = {
  delay: () => Promise.resolve(),
  fails: () => false,
  notFinite: () => false,
};

/** FNV-1a over 32-bit words. */
function mix(hash: number, word: number): number {
  return Math.imul(hash ^ (word >>> 0), 0x01000193) >>> 0;
}

export function contentOf(token: number, positions: ArrayLike<number>): number {
  return [token, positions[0], positions[1], positions[2]].reduce(mix, 0x811c9dc5);
}

/** Feature `index` of a picture, as the token it stands for; never a plain id. */
export function featureContent(pixels: Float32Array, index: number): number {
  return FEATURE_ROW + (pixels.reduce((hash, value) => mix(hash, value), 0x811c9dc5 + index) >>> 1);
}

/** Source slot of kept slot `index`: evenly spread. */
export function keptSource(index: number, slots: number, kept: number): number {
  return Math.floor(index * slots / kept);
}

/** Contents of a cache of `slots` slots that is written shorter. */
export function keptContents(contents: ArrayLike<number>, slots: number, kept: number): number[] {
  return Array.from({ length: kept }, (_, index) => contents[keptSource(index, slots, kept)]);
}

function sample(
  layers: readonly ArrayLike<number>[],
  seed: number,
  sampled: number,
  vocab: number,
): number {
  let hash = mix(mix(0x811c9dc5, seed), sampled);
  for (const contents of layers) {
    for (let slot = 0; slot < contents.length; slot++) hash = mix(hash, contents[slot]);
  }
  hash ^= hash >>> 15;
  return (Math.imul(hash, 0x2c1b3c6d) >>> 8) % vocab;
}

export interface ExpectedCompletion {
  readonly layers: number;
  readonly vocab: number;
  /** Prompt tokens, those of pictures as {@link featureContent} gives them. */
  readonly prompt: readonly number[];
  /** Slots that compression leaves; null without. */
  readonly kept: number | null;
  /** Slots stored when it happens: the whole prompt unless told otherwise. */
  readonly compressedSlots?: number;
  readonly seed: number;
  readonly maxTokens: number;
}

/** Contents of the slots of a prompt, as every layer stores them. */
export function promptContents(prompt: readonly number[]): number[] {
  return prompt.map((token, index) => contentOf(token, [index, index, index]));
}

/** The tokens that a request must get, whatever runs beside it. */
export function expectedTokens(o: ExpectedCompletion): number[] {
  let cache = promptContents(o.prompt);
  const compressedSlots = o.compressedSlots ?? o.prompt.length;
  const tokens: number[] = [];
  while (tokens.length < o.maxTokens) {
    const token = sample(new Array(o.layers).fill(cache), o.seed, tokens.length, o.vocab);
    const position = o.prompt.length + tokens.length;
    if (o.kept !== null && position === compressedSlots) cache = keptContents(cache, cache.length, o.kept);
    cache.push(contentOf(token, [position, position, position]));
    tokens.push(token);
  }
  return tokens;
}

/** What is unpacked of a layer before it attends. */
function codesOf(pages: ScriptedPages, { packed }: ForwardSequence, layer: number): readonly number[] {
  return packed ? pages.readCodes(packed.pages, layer) : [];
}

export class ScriptedEngine implements Engine {
  /** Wrong calls, in words. Empty at the end of every test. */
  readonly violations: string[] = [];
  /** Calls that failed, and rows that were no numbers, because they were meant to. */
  failures = 0;
  notFiniteRows = 0;
  readonly pages: ScriptedPages;
  readonly #features = new Map<number, number>();
  /** Calls that have begun and not ended. The device runs them one after the other, in order. */
  #calls = 0;
  #last: Promise<void> = Promise.resolve();

  constructor(readonly facts: EngineFacts, private readonly behaviour: ScriptedBehaviour = WELL_BEHAVED) {
    this.pages = new ScriptedPages(facts);
  }

  async encode(images: readonly EncodeImage[]): Promise<void> {
    const features = images.reduce((sum, { embeddingRows }) => sum + embeddingRows, 0);
    await this.#call("encode", images.length, features, 0, () => {
      const written = new Set<number>();
      for (const { pixels, embeddingRow, embeddingRows } of images) {
        for (let i = 0; i < embeddingRows; i++) {
          const row = embeddingRow + i;
          assert(row < this.facts.embeddingRows, `row ${row} is in the store`);
          assert(!written.has(row), `row ${row} is written once in a step`);
          written.add(row);
          this.#features.set(row, featureContent(pixels, i));
        }
      }
    });
  }

  async forward(sequences: readonly ForwardSequence[]): Promise<(SampledToken | "not_finite" | null)[]> {
    const total = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const slots = sequences.reduce((sum, { slotBase }) => sum + slotBase[0], 0);
    return await this.#call("forward", sequences.length, total, slots, () => {
      assert(total <= this.facts.stepTokensMax, `a step of ${total} tokens fits the device`);
      this.#requireApart(
        sequences.flatMap(({ pageTables, slotBase, packed }) => [
          {
            tables: pageTables,
            written: slotBase.map((slots, layer) => slots - (packed?.slots[layer] ?? 0)),
          },
          { tables: packed ? [packed.room, packed.pages] : [], written: [0, 0] },
        ]),
      );
      return sequences.map((sequence) => this.#forward(sequence));
    });
  }

  async compress(sequences: readonly CompressSequence[]): Promise<void> {
    const total = sequences.reduce((sum, { slots }) => sum + slots[0], 0);
    await this.#call("compress", sequences.length, total, 0, () => {
      this.#requireApart(sequences.flatMap(({ slots, sourceTables, targetTables, packed }) => [
        { tables: sourceTables, written: Array.from(slots, () => Infinity) },
        { tables: targetTables, written: Array.from(slots, () => 0) },
        { tables: packed === null ? [] : [packed.pages], written: [0] },
      ]));
      for (const { compression, slots, kept, sourceTables, targetTables, packed } of sequences) {
        assert((packed !== null) === (compression.quantise !== null), "what is quantised has pages for it");
        const codes: number[][] = [];
        for (let layer = 0; layer < this.facts.layers; layer++) {
          const cells = this.pages.read(sourceTables[layer], slots[layer], layer);
          for (const [slot, content] of keptContents(cells, slots[layer], kept[layer]).entries()) {
            this.pages.write(targetTables[layer], slot, layer, content);
          }
          if (packed !== null) {
            codes.push([...this.pages.read(targetTables[layer], packed.slots[layer], layer)]);
          }
        }
        if (packed !== null) this.pages.writeCodes(packed.pages, codes);
      }
    });
  }

  liveBytes(): Promise<number> {
    return Promise.resolve(this.facts.pageCount * this.facts.pageBytes);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The work is done when the device has finished: pages that were given away too early hold something else by then. */
  async #call<T>(
    call: ScriptedCall,
    items: number,
    tokens: number,
    slots: number,
    work: () => T,
  ): Promise<T> {
    if (this.#calls === CALLS_MAX) this.violations.push(`${call} while ${CALLS_MAX} calls are under way`);
    this.#calls++;
    const before = this.#last;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    this.#last = ended;
    try {
      await before;
      await this.behaviour.delay(call, items, tokens, slots);
      if (this.behaviour.fails(call)) {
        this.failures++;
        throw new Error("the scripted device failed");
      }
      this.pages.epoch++;
      return work();
    } catch (error) {
      if (error instanceof AssertionError) this.violations.push(error.message);
      throw error;
    } finally {
      this.#calls--;
      end();
    }
  }

  #forward(sequence: ForwardSequence): SampledToken | "not_finite" | null {
    const { tokens, positions, slotBase, sampling, sampled } = sequence;
    const { layers, vocabSize, pageSlots } = this.facts;
    assert(tokens.length > 0 && positions.length === 3 * tokens.length, "a part has tokens with positions");
    assert(sequence.pageTables.length === layers && slotBase.length === layers, "every layer has a table");
    const seen: Uint32Array[] = [];
    for (let layer = 0; layer < layers; layer++) {
      // The room holds one layer at a time.
      const table = wholeTable(sequence, layer, pageSlots);
      for (const [slot, content] of codesOf(this.pages, sequence, layer).entries()) {
        this.pages.write(table, slot, layer, content);
      }
      for (const [index, token] of tokens.entries()) {
        const content = contentOf(this.#tokenContent(token), positions.subarray(3 * index, 3 * index + 3));
        this.pages.write(table, slotBase[layer] + index, layer, content);
      }
      if (sampling !== null) seen.push(this.pages.read(table, slotBase[layer] + tokens.length, layer));
    }
    if (sampling === null) return null;
    if (this.behaviour.notFinite()) {
      this.notFiniteRows++;
      return "not_finite";
    }
    const id = sample(seen, sampling.seed[0], sampled, vocabSize);
    if (sampling.logprobs === null) return { id, logprob: null, top: [] };
    return { id, logprob: -0.5, top: [{ id, logprob: -0.5 }].slice(0, sampling.logprobs) };
  }

  #tokenContent(token: number): number {
    if (token < FEATURE_ROW) return token;
    const content = this.#features.get(token - FEATURE_ROW);
    assert(content !== undefined, `feature row ${token - FEATURE_ROW} was written`);
    return content;
  }

  /** A page that a step writes, from slot `written` of its layer on, stands in no other table of the step. */
  #requireApart(parts: readonly { tables: readonly Uint32Array[]; written: ArrayLike<number> }[]): void {
    const named = new Set<number>(), written = new Set<number>();
    for (const part of parts) {
      for (const [layer, table] of part.tables.entries()) {
        const from = Math.floor(part.written[layer] / this.facts.pageSlots);
        for (const [index, page] of table.entries()) {
          const taken = index < from ? written : named;
          assert(!taken.has(page), `page ${page} is written through one table and read through no other`);
          named.add(page);
          if (index >= from) written.add(page);
        }
      }
    }
  }
}

/** Facts of a small device; override what a test is about. */
export function scriptedFacts(facts: Partial<EngineFacts> = {}): EngineFacts {
  return {
    backend: "scripted",
    adapter: "none",
    software: true,
    features: [],
    layers: 2,
    shape: { heads: 1, kvHeads: 1, headDim: 4 },
    vocabSize: 64,
    kvDtype: "f16",
    pageBytes: 256,
    pageSlots: 4,
    pageCount: 256,
    embeddingRows: 64,
    stepTokensMax: 64,
    loadMs: {},
    ...facts,
  };
}
