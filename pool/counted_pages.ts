/** The pages of the pool with their reference counts: how many sequences and prefix entries name each. */
import { assert } from "../lib/core/assert.ts";
import { Buddy, orderWithin } from "./buddy.ts";

export class CountedPages {
  readonly buddy: Buddy;
  readonly #names: Uint32Array;
  readonly #taken: Uint32Array;

  constructor(count: number) {
    this.buddy = new Buddy(count);
    this.#names = new Uint32Array(count);
    this.#taken = new Uint32Array(count);
  }

  get freePages(): number {
    return this.buddy.freeUnits;
  }

  /** How many name this page; 0 when it is free. */
  names(page: number): number {
    return this.#names[page];
  }

  /**
   * Takes free pages, each named once, in few blocks of falling orders. The caller has made sure that so many are free;
   * single pages can always be had, however fragmented the pool is. The answer is good until the next call.
   */
  take(count: number): Uint32Array {
    for (let taken = 0; taken < count;) {
      const order = Math.min(orderWithin(count - taken), this.buddy.largestFreeOrder);
      const offset = order < 0 ? null : this.buddy.allocate(order);
      assert(offset !== null, "the pages that are taken are free");
      this.#names.fill(1, offset, offset + (1 << order));
      for (let page = offset; page < offset + (1 << order); page++) this.#taken[taken++] = page;
    }
    return this.#taken.subarray(0, count);
  }

  /** One more names each of these pages. */
  name(pages: Uint32Array): void {
    for (const page of pages) {
      assert(this.#names[page] > 0, "a page that is named again is in use");
      this.#names[page]++;
    }
  }

  /** One fewer names each of these pages; those that nobody names are free at once. Neighbours go back together. */
  letGo(pages: Uint32Array): void {
    let start = 0, end = 0;
    for (const page of pages) {
      assert(this.#names[page] > 0, "a page is let go of by those who name it");
      if (--this.#names[page] > 0) continue;
      if (page !== end) {
        this.buddy.freeRun(start, end - start);
        start = page;
      }
      end = page + 1;
    }
    this.buddy.freeRun(start, end - start);
  }
}
