/**
 * An engine without a model. It keeps what every slot of every page holds, and a sampled token is a hash of all that
 * the sequence's tables reach, so a wrong table, slot, position or feature row changes the output. What a request must
 * answer can be computed without pages ({@link expectedTokens}).
 */
import { assert } from "../../lib/core/assert.ts";
import type {
  CompressSequence,
  EncodeImage,
  Engine,
  EngineFacts,
  ForwardSequence,
  SampledToken,
} from "../../lib/engine/engine.ts";
import { FEATURE_ROW } from "../../lib/ops/backend.ts";

/** One stored token of one layer. */
interface Cell {
  readonly layer: number;
  readonly content: number;
}

export interface ScriptedBehaviour {
  /** Resolves when the device would have finished. */
  readonly delay: (call: "encode" | "forward" | "compress") => Promise<void>;
  /** Whether this call fails as a whole. */
  readonly fails: () => boolean;
  /** Whether this row's logits are not numbers. */
  readonly notFinite: () => boolean;
}

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

function sample(
  layers: readonly (readonly number[])[],
  seed: number,
  sampled: number,
  vocab: number,
): number {
  let hash = mix(mix(0x811c9dc5, seed), sampled);
  for (const contents of layers) for (const content of contents) hash = mix(hash, content);
  hash ^= hash >>> 15;
  return (Math.imul(hash, 0x2c1b3c6d) >>> 8) % vocab;
}

export interface ExpectedCompletion {
  readonly layers: number;
  readonly vocab: number;
  /** Prompt tokens, those of pictures as {@link featureContent} gives them. */
  readonly prompt: readonly number[];
  readonly kept: number | null;
  readonly seed: number;
  readonly maxTokens: number;
}

/** The tokens that a request must get, whatever runs beside it. */
export function expectedTokens(o: ExpectedCompletion): number[] {
  let cache = o.prompt.map((token, index) => contentOf(token, [index, index, index]));
  const tokens: number[] = [];
  while (tokens.length < o.maxTokens) {
    const all = Array.from({ length: o.layers }, () => cache);
    const token = sample(all, o.seed, tokens.length, o.vocab);
    if (tokens.length === 0 && o.kept !== null) {
      const { kept } = o, slots = cache.length, raw = cache;
      cache = Array.from({ length: kept }, (_, i) => raw[keptSource(i, slots, kept)]);
    }
    const position = o.prompt.length + tokens.length;
    cache.push(contentOf(token, [position, position, position]));
    tokens.push(token);
  }
  return tokens;
}

export class ScriptedEngine implements Engine {
  /** Wrong calls, in words. Empty at the end of every test. */
  readonly violations: string[] = [];
  /** Calls that failed because they were meant to. */
  failures = 0;
  readonly #pages: (Cell | null)[][];
  readonly #features = new Map<number, number>();
  /** Steps run one after the other: when the last one that was handed over has ended. */
  #last: Promise<void> = Promise.resolve();

  constructor(readonly facts: EngineFacts, private readonly behaviour: ScriptedBehaviour = WELL_BEHAVED) {
    this.#pages = Array.from({ length: facts.pageCount }, () => new Array(facts.pageSlots).fill(null));
  }

  async encode(images: readonly EncodeImage[]): Promise<void> {
    await this.#call("encode", () => {
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
    return await this.#call("forward", () => {
      const total = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
      assert(total <= this.facts.stepTokensMax, `a step of ${total} tokens fits the device`);
      this.#requireOneWriter(sequences.map(({ pageTables, slotBase, tokens }) => ({
        tables: pageTables,
        first: slotBase,
        end: slotBase.map((slots) => slots + tokens.length),
      })));
      return sequences.map((sequence) => this.#forward(sequence));
    });
  }

  async compress(sequences: readonly CompressSequence[]): Promise<void> {
    await this.#call("compress", () => {
      this.#requireOneWriter(sequences.flatMap(({ sourceTables, targetTables, kept }) => {
        const none = kept.map(() => 0);
        return [{ tables: sourceTables, first: none, end: none }, {
          tables: targetTables,
          first: none,
          end: kept,
        }];
      }));
      for (const { slots, kept, sourceTables, targetTables } of sequences) {
        for (let layer = 0; layer < this.facts.layers; layer++) {
          const cells = this.#read(sourceTables[layer], slots[layer], layer);
          for (let i = 0; i < kept[layer]; i++) {
            const content = cells[keptSource(i, slots[layer], kept[layer])];
            this.#write(targetTables[layer], i, { layer, content });
          }
        }
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
  async #call<T>(call: "encode" | "forward" | "compress", work: () => T): Promise<T> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    try {
      await before;
      await this.behaviour.delay(call);
      if (this.behaviour.fails()) {
        this.failures++;
        throw new Error("the scripted device failed");
      }
      return work();
    } catch (error) {
      if (error instanceof Error && error.name === "AssertionError") this.violations.push(error.message);
      throw error;
    } finally {
      resolve();
    }
  }

  #forward(sequence: ForwardSequence): SampledToken | "not_finite" | null {
    const { tokens, positions, slotBase, pageTables, sampling, sampled } = sequence;
    const { layers, vocabSize } = this.facts;
    assert(tokens.length > 0 && positions.length === 3 * tokens.length, "a part has tokens with positions");
    assert(pageTables.length === layers && slotBase.length === layers, "every layer has a table");
    for (let layer = 0; layer < layers; layer++) {
      for (const [index, token] of tokens.entries()) {
        const content = contentOf(this.#tokenContent(token), positions.subarray(3 * index, 3 * index + 3));
        this.#write(pageTables[layer], slotBase[layer] + index, { layer, content });
      }
    }
    if (sampling === null) return null;
    if (this.behaviour.notFinite()) return "not_finite";
    const seen = pageTables.map((table, layer) => this.#read(table, slotBase[layer] + tokens.length, layer));
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

  #write(table: Uint32Array, slot: number, cell: Cell): void {
    const { pageSlots } = this.facts;
    const page = table[Math.floor(slot / pageSlots)];
    assert(page !== undefined && page < this.facts.pageCount, `slot ${slot} has a page`);
    this.#pages[page][slot % pageSlots] = cell;
  }

  #read(table: Uint32Array, slots: number, layer: number): number[] {
    const { pageSlots } = this.facts;
    return Array.from({ length: slots }, (_, slot) => {
      const page = table[Math.floor(slot / pageSlots)];
      const cell = page === undefined ? null : this.#pages[page][slot % pageSlots];
      assert(cell !== null, `slot ${slot} of layer ${layer} was written`);
      assert(
        cell.layer === layer,
        `slot ${slot} of layer ${layer} is not overwritten by layer ${cell.layer}`,
      );
      return cell.content;
    });
  }

  /** A page that is written to (slots first … end − 1 of each layer) stands in no other table of the step. */
  #requireOneWriter(parts: readonly WrittenPart[]): void {
    const named = new Map<number, number>();
    for (const { tables } of parts) {
      for (const table of tables) for (const page of table) named.set(page, (named.get(page) ?? 0) + 1);
    }
    const { pageSlots } = this.facts;
    for (const { tables, first, end } of parts) {
      for (const [layer, table] of tables.entries()) {
        for (let at = Math.floor(first[layer] / pageSlots); at * pageSlots < end[layer]; at++) {
          assert(named.get(table[at]) === 1, `page ${table[at]} is written to by its only owner`);
        }
      }
    }
  }
}

/** The tables of a part of a step, and which slots of each layer it writes. */
interface WrittenPart {
  readonly tables: readonly Uint32Array[];
  readonly first: Uint32Array;
  readonly end: Uint32Array;
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
