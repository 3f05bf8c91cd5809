/** Sequences that wait at a stage, in the order in which they are served. */
import { compareRank, type Ranked } from "./rank.ts";

interface Waiter extends Ranked {
  readonly ended: boolean;
}

export class RankedQueue<Item extends Waiter> {
  #items: Item[] = [];

  get size(): number {
    return this.#items.length;
  }

  push(item: Item): void {
    const items = this.#items;
    let low = 0, high = items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareRank(items[middle], item) <= 0) low = middle + 1;
      else high = middle;
    }
    items.splice(low, 0, item);
  }

  /** Those that still live, first served first. Forgets the others. */
  live(): readonly Item[] {
    if (this.#items.some((item) => item.ended)) this.#items = this.#items.filter((item) => !item.ended);
    return this.#items;
  }

  remove(item: Item): boolean {
    const index = this.#items.indexOf(item);
    if (index < 0) return false;
    this.#items.splice(index, 1);
    return true;
  }

  /** Takes all of these out. */
  removeAll(items: readonly Item[]): void {
    const gone = new Set(items);
    this.#items = this.#items.filter((item) => !gone.has(item));
  }
}
