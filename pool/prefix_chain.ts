/**
 * The keys under which the pages of a prompt may be shared. A key says everything that the raw keys and values of a page
 * depend on: the tenant's salt, every token from the first to the last of the page, and what the images among them show.
 *
 * The chain is one SHA-256 stream without an end: the salt, then page after page, each in whole blocks. The state after
 * a page, cut to 128 bits, is its key, so one page of 16 tokens costs one block.
 */
import { assert } from "../lib/core/assert.ts";
import { BLOCK_WORDS, compressBlock, initialState } from "./sha256.ts";

export const KEY_WORDS = 4;

/** First words of what is no page. Token ids are 31-bit, so a page never begins like this. */
const SALT = -1;
const IMAGE = -2;
/** Fills the last block of a page or a text. */
const FILLER = -3;

/** Where an image stands among the tokens of a prompt. */
export interface PlacedImage {
  readonly firstToken: number;
  readonly rows: number;
  /** Of its content. */
  readonly hash: string;
}

/** Made once for a prompt; never changes. */
export class PrefixChain {
  constructor(
    readonly pageSlots: number,
    /** {@link KEY_WORDS} words for each full page. */
    readonly keys: Int32Array,
  ) {}

  /** Full pages of one layer. */
  get pages(): number {
    return this.keys.length / KEY_WORDS;
  }

  /** Tokens in full pages. */
  get tokens(): number {
    return this.pages * this.pageSlots;
  }
}

/** The chain of a prompt. Tokens of different salts never share a key. `images` stand in the order of their tokens. */
export function chainOf(
  tokens: ArrayLike<number>,
  pageSlots: number,
  images: readonly PlacedImage[],
  salt: string,
): PrefixChain {
  assert(Number.isInteger(pageSlots) && pageSlots > 0, "a page has slots");
  const pages = Math.floor(tokens.length / pageSlots);
  const keys = new Int32Array(pages * KEY_WORDS);
  const state = initialState();
  absorb(state, [SALT, pageSlots, ...textWords(salt)]);
  const block = new Int32Array(Math.ceil(pageSlots / BLOCK_WORDS) * BLOCK_WORDS).fill(FILLER);
  // The images before this one end before the page begins.
  let image = 0;
  for (let page = 0; page < pages; page++) {
    const first = page * pageSlots, end = first + pageSlots;
    while (image < images.length && images[image].firstToken + images[image].rows <= first) image++;
    for (let i = image; i < images.length && images[i].firstToken < end; i++) {
      const { firstToken, rows, hash } = images[i];
      absorb(state, [IMAGE, first - firstToken, rows, ...textWords(hash)]);
    }
    for (let i = 0; i < pageSlots; i++) block[i] = tokens[first + i];
    for (let at = 0; at < block.length; at += BLOCK_WORDS) compressBlock(state, block, at);
    keys.set(state.subarray(0, KEY_WORDS), page * KEY_WORDS);
  }
  return new PrefixChain(pageSlots, keys);
}

/** The length of a text and its UTF-16 units, so that what follows cannot be taken for a part of it. */
function textWords(text: string): number[] {
  return [text.length, ...Array.from({ length: text.length }, (_, i) => text.charCodeAt(i))];
}

/** Mixes words into the state, in whole blocks. */
function absorb(state: Int32Array, words: readonly number[]): void {
  const blocks = new Int32Array(Math.ceil(words.length / BLOCK_WORDS) * BLOCK_WORDS).fill(FILLER);
  blocks.set(words);
  for (let at = 0; at < blocks.length; at += BLOCK_WORDS) compressBlock(state, blocks, at);
}
