/** What every slot of every page of the scripted device holds: one word a stored token, and the layer that wrote it. */
import { assert } from "../../lib/core/assert.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";

const UNWRITTEN = -1;
/** In place of a layer, where a page holds codes. */
const CODES = -2;

export class ScriptedPages {
  /** Writes of whole calls so far, and which of them wrote to a page last: checks look again only where something changed. */
  epoch = 0;
  readonly #writtenAt: Uint32Array;
  readonly #contents: Uint32Array;
  /** Layer of each slot, UNWRITTEN before its first write. */
  readonly #layers: Int16Array;
  /** Contents that were packed, per layer, by the first page of their codes. */
  readonly #packed = new Map<number, readonly (readonly number[])[]>();
  readonly #pageSlots: number;
  readonly #pageCount: number;

  constructor({ pageCount, pageSlots }: EngineFacts) {
    this.#writtenAt = new Uint32Array(pageCount);
    this.#contents = new Uint32Array(pageCount * pageSlots);
    this.#layers = new Int16Array(pageCount * pageSlots).fill(UNWRITTEN);
    this.#pageSlots = pageSlots;
    this.#pageCount = pageCount;
  }

  write(table: Uint32Array, slot: number, layer: number, content: number): void {
    const page = table[Math.floor(slot / this.#pageSlots)];
    assert(page !== undefined && page < this.#pageCount, `slot ${slot} has a page`);
    const at = page * this.#pageSlots + slot % this.#pageSlots;
    this.#contents[at] = content;
    this.#layers[at] = layer;
    this.#writtenAt[page] = this.epoch;
  }

  /** What was packed, per layer; every slot of the codes' pages says where they begin. */
  writeCodes(pages: Uint32Array, contents: readonly (readonly number[])[]): void {
    if (pages.length === 0) return;
    for (const page of pages) {
      const first = page * this.#pageSlots;
      this.#contents.fill(pages[0], first, first + this.#pageSlots);
      this.#layers.fill(CODES, first, first + this.#pageSlots);
      this.#writtenAt[page] = this.epoch;
    }
    this.#packed.set(pages[0], contents);
  }

  /** What was packed of one layer, if all pages of the codes are still what they were. */
  readCodes(pages: Uint32Array, layer: number): readonly number[] {
    if (pages.length === 0) return [];
    for (const page of pages) {
      for (let at = page * this.#pageSlots; at < (page + 1) * this.#pageSlots; at++) {
        assert(this.#layers[at] === CODES && this.#contents[at] === pages[0], `page ${page} holds codes`);
      }
    }
    return this.#packed.get(pages[0])![layer];
  }

  /** The first `slots` slots that a table of `layer` reaches; all of them must have been written by that layer. */
  read(table: Uint32Array, slots: number, layer: number): Uint32Array {
    const cells = new Uint32Array(slots);
    for (let slot = 0; slot < slots; slot++) {
      const page = table[Math.floor(slot / this.#pageSlots)];
      const at = page * this.#pageSlots + slot % this.#pageSlots;
      const writer = page === undefined ? UNWRITTEN : this.#layers[at];
      if (writer !== layer) {
        assert(writer !== UNWRITTEN, `slot ${slot} of layer ${layer} was written`);
        assert(false, `slot ${slot} of layer ${layer} is not overwritten by layer ${writer}`);
      }
      cells[slot] = this.#contents[at];
    }
    return cells;
  }

  /** The call that wrote to a page last. */
  writtenAt(page: number): number {
    return this.#writtenAt[page];
  }

  /** Whether a call after `epoch` wrote to any page of the table. */
  writtenSince(table: Uint32Array, epoch: number): boolean {
    for (const page of table) if (this.#writtenAt[page] > epoch) return true;
    return false;
  }
}
