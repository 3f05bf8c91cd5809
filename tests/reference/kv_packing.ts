/** Where the oracle's codes and pairs lie, see packedGroupWords. */
import {
  type KvBits,
  PACK_CHANNELS,
  PACK_SLOTS,
  packedGroupWords,
  PAIR_WORDS,
  valueParts,
} from "../../lib/ops/kv.ts";
import type { HostKvPages, Table } from "./kv_pages.ts";

/** Scale and least of a set of values, as they will be stored. */
export interface Pair {
  readonly scale: number;
  readonly least: number;
}

/** Packed groups of one layer of one sequence. */
export class PackedPages {
  readonly #codeWords: number;

  constructor(
    readonly pages: HostKvPages,
    readonly table: Table,
    readonly base: number,
    readonly bits: KvBits,
  ) {
    this.#codeWords = PACK_SLOTS * pages.shape.headDim * bits / 32;
  }

  /** First word of a slot's group and head. */
  #group(slot: number, head: number): number {
    const { shape } = this.pages;
    const group = Math.floor(slot / PACK_SLOTS) * shape.kvHeads + head;
    return this.base + group * packedGroupWords(shape, this.bits);
  }

  /** Word and shift of a code. */
  #codeAt(part: "key" | "value", slot: number, head: number, d: number): [word: number, shift: number] {
    const { headDim } = this.pages.shape, t = slot % PACK_SLOTS;
    const index = part === "key" ? d * PACK_SLOTS + t : t * headDim + d;
    const codes = part === "key" ? 0 : this.#codeWords + headDim * PAIR_WORDS[this.pages.shape.dtype];
    const bit = index * this.bits;
    return [this.#group(slot, head) + codes + Math.floor(bit / 32), bit % 32];
  }

  #pairAt(part: "key" | "value", slot: number, head: number, d: number): number {
    const { headDim, dtype } = this.pages.shape, words = PAIR_WORDS[dtype], group = this.#group(slot, head);
    if (part === "key") return group + this.#codeWords + d * words;
    const index = slot % PACK_SLOTS * valueParts(headDim) + Math.floor(d / PACK_CHANNELS);
    return group + 2 * this.#codeWords + (headDim + index) * words;
  }

  setCode(part: "key" | "value", slot: number, head: number, d: number, code: number): void {
    const [word, shift] = this.#codeAt(part, slot, head, d), at = this.pages.rawAt(this.table, word);
    const mask = (2 ** this.bits - 1) << shift;
    this.pages.words[at] = this.pages.words[at] & ~mask | code << shift;
  }

  code(part: "key" | "value", slot: number, head: number, d: number): number {
    const [word, shift] = this.#codeAt(part, slot, head, d);
    return this.pages.words[this.pages.rawAt(this.table, word)] >>> shift & (2 ** this.bits - 1);
  }

  setPair(part: "key" | "value", slot: number, head: number, d: number, { scale, least }: Pair): void {
    const word = this.#pairAt(part, slot, head, d);
    if (this.pages.shape.dtype === "f32") return this.pages.writeRaw(this.table, word, [scale, least]);
    const halves = new Uint32Array(Float16Array.of(scale, least).buffer);
    this.pages.words[this.pages.rawAt(this.table, word)] = halves[0];
  }

  pair(part: "key" | "value", slot: number, head: number, d: number): Pair {
    const word = this.#pairAt(part, slot, head, d);
    if (this.pages.shape.dtype === "f32") {
      const [scale, least] = this.pages.readRaw(this.table, word, 2);
      return { scale, least };
    }
    const [scale, least] = new Float16Array(
      Uint32Array.of(this.pages.words[this.pages.rawAt(this.table, word)]).buffer,
    );
    return { scale, least };
  }
}
