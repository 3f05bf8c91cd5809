/**
 * Pages of prompts that may be used again. An entry is one page of every layer: the raw keys and values of one page of
 * tokens behind all tokens before it. Its parent is the entry of the page before.
 *
 * A sequence that names an entry names its parents too, and names and lets go of them together. So entries that the
 * cache alone names have no descendants that a sequence names: all of them can be evicted. They are a list by recency,
 * and a sequence lets go of its deepest entry first: a child stands before its parent in the list, and evicting from
 * its old end takes children before parents.
 */
import { assert } from "../lib/core/assert.ts";
import type { CountedPages } from "./counted_pages.ts";
import { KEY_WORDS, type PrefixChain } from "./prefix_chain.ts";

export const NO_ENTRY = -1;

export class PrefixCache {
  readonly #counted: CountedPages;
  readonly #layers: number;
  /** One page of each layer for each entry. */
  readonly #pages: Uint32Array;
  readonly #keys: Int32Array;
  readonly #parents: Int32Array;
  readonly #children: Uint32Array;
  /** Entries of one bucket are a list; keys are digests, so their low bits spread. */
  readonly #buckets: Int32Array;
  readonly #nextInBucket: Int32Array;
  /** What the cache alone names, by recency. */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  #oldest = NO_ENTRY;
  #newest = NO_ENTRY;
  /** Numbers of entries that are not in use, the first `#unusedCount` of them. */
  readonly #unused: Int32Array;
  #unusedCount: number;
  #evictable = 0;
  #evicted = 0;
  #version = 0;

  constructor(counted: CountedPages, pageCount: number, layers: number) {
    // Entries never share pages.
    const capacity = Math.floor(pageCount / layers);
    this.#counted = counted;
    this.#layers = layers;
    this.#pages = new Uint32Array(capacity * layers);
    this.#keys = new Int32Array(capacity * KEY_WORDS);
    this.#parents = new Int32Array(capacity);
    this.#children = new Uint32Array(capacity);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(capacity + 1))).fill(NO_ENTRY);
    this.#nextInBucket = new Int32Array(capacity);
    this.#older = new Int32Array(capacity).fill(NO_ENTRY);
    this.#newer = new Int32Array(capacity).fill(NO_ENTRY);
    this.#unused = Int32Array.from({ length: capacity }, (_, i) => capacity - 1 - i);
    this.#unusedCount = capacity;
  }

  /** Changes with every entry that comes or goes. */
  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#unused.length - this.#unusedCount;
  }

  /** Entries that no sequence names. */
  get evictable(): number {
    return this.#evictable;
  }

  /** Entries evicted so far. */
  get evicted(): number {
    return this.#evicted;
  }

  parent(entry: number): number {
    return this.#parents[entry];
  }

  /** The page of each layer. */
  pages(entry: number): Uint32Array {
    return this.#pages.subarray(entry * this.#layers, (entry + 1) * this.#layers);
  }

  /** How many sequences name an entry. */
  namers(entry: number): number {
    return this.#counted.names(this.#pages[entry * this.#layers]) - 1;
  }

  /** The entry of the n-th page of a chain, or {@link NO_ENTRY}. */
  find(chain: PrefixChain, n: number): number {
    const at = n * KEY_WORDS;
    let entry = this.#buckets[this.#bucket(chain.keys, at)];
    while (entry !== NO_ENTRY && !this.#hasKey(entry, chain.keys, at)) entry = this.#nextInBucket[entry];
    return entry;
  }

  /** Makes an entry of pages that one sequence names, and that it names its parent too. */
  insert(chain: PrefixChain, n: number, parent: number, pages: Uint32Array): number {
    assert(this.#unusedCount > 0, "entries do not outnumber pages");
    const entry = this.#unused[--this.#unusedCount];
    this.pages(entry).set(pages);
    this.#counted.name(pages);
    this.#keys.set(chain.keys.subarray(n * KEY_WORDS, (n + 1) * KEY_WORDS), entry * KEY_WORDS);
    this.#parents[entry] = parent;
    if (parent !== NO_ENTRY) this.#children[parent]++;
    const bucket = this.#bucket(chain.keys, n * KEY_WORDS);
    this.#nextInBucket[entry] = this.#buckets[bucket];
    this.#buckets[bucket] = entry;
    this.#version++;
    return entry;
  }

  /** One more sequence names this entry. It has named the parent before. */
  name(entry: number): void {
    if (this.namers(entry) === 0) this.#unlist(entry);
    this.#counted.name(this.pages(entry));
  }

  /** One sequence fewer names this entry. It lets go of the parent afterwards. Says whether no other names it. */
  letGo(entry: number): boolean {
    this.#counted.letGo(this.pages(entry));
    if (this.namers(entry) > 0) return false;
    this.#list(entry);
    return true;
  }

  /** Frees the pages of the entry that nobody has named for longest. */
  evictOldest(): void {
    const entry = this.#oldest;
    assert(entry !== NO_ENTRY, "what is evicted is there");
    assert(this.#children[entry] === 0, "children are evicted before their parents");
    this.#unlist(entry);
    this.#forget(entry);
    const parent = this.#parents[entry];
    if (parent !== NO_ENTRY) this.#children[parent]--;
    this.#counted.letGo(this.pages(entry));
    this.#unused[this.#unusedCount++] = entry;
    this.#evicted++;
    this.#version++;
  }

  /** Every entry, for checks. */
  *entries(): Generator<{ readonly entry: number; readonly children: number }> {
    for (const first of this.#buckets) {
      for (let entry = first; entry !== NO_ENTRY; entry = this.#nextInBucket[entry]) {
        yield { entry, children: this.#children[entry] };
      }
    }
  }

  /** Entries that the cache alone names, oldest first, for checks. */
  *byRecency(): Generator<number> {
    for (let entry = this.#oldest; entry !== NO_ENTRY; entry = this.#newer[entry]) yield entry;
  }

  #bucket(keys: Int32Array, at: number): number {
    return keys[at] & (this.#buckets.length - 1);
  }

  #hasKey(entry: number, keys: Int32Array, at: number): boolean {
    const own = entry * KEY_WORDS;
    for (let word = 0; word < KEY_WORDS; word++) if (this.#keys[own + word] !== keys[at + word]) return false;
    return true;
  }

  /** Takes an entry out of its bucket. */
  #forget(entry: number): void {
    const bucket = this.#bucket(this.#keys, entry * KEY_WORDS);
    let before = NO_ENTRY, at = this.#buckets[bucket];
    while (at !== entry) {
      before = at;
      at = this.#nextInBucket[at];
    }
    if (before === NO_ENTRY) this.#buckets[bucket] = this.#nextInBucket[entry];
    else this.#nextInBucket[before] = this.#nextInBucket[entry];
  }

  #list(entry: number): void {
    this.#older[entry] = this.#newest;
    this.#newer[entry] = NO_ENTRY;
    if (this.#newest === NO_ENTRY) this.#oldest = entry;
    else this.#newer[this.#newest] = entry;
    this.#newest = entry;
    this.#evictable++;
  }

  #unlist(entry: number): void {
    const older = this.#older[entry], newer = this.#newer[entry];
    if (older === NO_ENTRY) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === NO_ENTRY) this.#newest = older;
    else this.#older[newer] = older;
    this.#evictable--;
  }
}
