/** Which pages hold the slots of one sequence, layer by layer. The lengths of the layers may differ. */
import { assert } from "../lib/core/assert.ts";

const NO_PAGES = new Uint32Array(0);

/** Pages that `slots` slots of one layer take. */
export function pagesForSlots(slots: number, pageSlots: number): number {
  return Math.ceil(slots / pageSlots);
}

export class PageTable {
  /**
   * Page numbers, one array a layer. An array is never written to once it is here: growing replaces it, so a step
   * that was given one keeps what it was given.
   */
  readonly tables: Uint32Array[];
  /** Slots that are stored or about to be, one count a layer. */
  readonly slots: Uint32Array;
  #pages = 0;
  #storedSlots = 0;

  constructor(layers: number, readonly pageSlots: number) {
    this.tables = Array.from({ length: layers }, () => NO_PAGES);
    this.slots = new Uint32Array(layers);
  }

  /** Pages of all layers together. */
  get pages(): number {
    return this.#pages;
  }

  /** Slots of its pages that nothing is stored in, of all layers together. */
  get unusedSlots(): number {
    return this.#pages * this.pageSlots - this.#storedSlots;
  }

  /** Pages that are missing until layer l can store slots[l]. A table never shrinks. */
  missing(slots: ArrayLike<number>): number {
    assert(slots.length === this.tables.length, "a count for each layer");
    let count = 0;
    for (let layer = 0; layer < slots.length; layer++) {
      const more = pagesForSlots(slots[layer], this.pageSlots) - this.tables[layer].length;
      if (more > 0) count += more;
    }
    return count;
  }

  /**
   * Gives each layer the pages it misses for slots[layer], from `fresh`, which has exactly {@link missing} of them. They
   * go to the layers in turn, so that pages of the same tokens, which are shared and let go of together, lie together.
   */
  extend(slots: ArrayLike<number>, fresh: Uint32Array): void {
    let shortest = Infinity, longest = 0;
    const longer = this.tables.map((table, layer) => {
      const wanted = pagesForSlots(slots[layer], this.pageSlots);
      if (wanted <= table.length) return table;
      shortest = Math.min(shortest, table.length);
      longest = Math.max(longest, wanted);
      const copy = new Uint32Array(wanted);
      copy.set(table);
      return copy;
    });
    let next = 0;
    for (let index = shortest; index < longest; index++) {
      for (let layer = 0; layer < longer.length; layer++) {
        if (index < this.tables[layer].length || index >= longer[layer].length) continue;
        longer[layer][index] = fresh[next++];
      }
    }
    assert(next === fresh.length, "every fresh page finds its place");
    for (let layer = 0; layer < longer.length; layer++) this.tables[layer] = longer[layer];
    this.#pages += next;
  }

  /** Notes that layer l stores slots[l]; fewer than before changes nothing. */
  store(slots: ArrayLike<number>): void {
    for (let layer = 0; layer < this.slots.length; layer++) {
      const more = slots[layer] - this.slots[layer];
      if (more <= 0) continue;
      this.slots[layer] += more;
      this.#storedSlots += more;
    }
  }

  /** Lets go of the first slots[l] slots of layer l, whole pages that are full; returns the pages, the layers in turn. */
  cut(slots: ArrayLike<number>): Uint32Array {
    const dropped: number[] = [];
    for (let layer = 0; layer < this.slots.length; layer++) {
      const count = slots[layer] / this.pageSlots;
      assert(
        Number.isInteger(count) && slots[layer] <= this.slots[layer],
        "whole pages of stored slots are cut",
      );
      dropped.push(...this.tables[layer].subarray(0, count));
      this.tables[layer] = this.tables[layer].slice(count);
      this.slots[layer] -= slots[layer];
      this.#storedSlots -= slots[layer];
    }
    this.#pages -= dropped.length;
    return Uint32Array.from(dropped);
  }

  /** Writes the pages from index `from` of each layer on to `target`, the layers in turn; returns how many. */
  copyTo(target: Uint32Array, from: number): number {
    let longest = 0, count = 0;
    for (const table of this.tables) longest = Math.max(longest, table.length);
    for (let index = from; index < longest; index++) {
      for (const table of this.tables) if (index < table.length) target[count++] = table[index];
    }
    return count;
  }
}
