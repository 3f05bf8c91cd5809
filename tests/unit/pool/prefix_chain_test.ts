import assert from "node:assert/strict";
import { chainOf, KEY_WORDS, type PlacedImage, type PrefixChain } from "../../../pool/prefix_chain.ts";

/** How many leading keys two chains have in common. */
function shared(one: PrefixChain, other: PrefixChain): number {
  let words = 0;
  while (words < Math.min(one.keys.length, other.keys.length) && one.keys[words] === other.keys[words]) {
    words++;
  }
  return Math.floor(words / KEY_WORDS);
}

const tokens = Array.from({ length: 70 }, (_, i) => i % 7);

function changed(index: number): number[] {
  return tokens.with(index, 999);
}

function chain(list: readonly number[], images: readonly PlacedImage[] = [], salt = "a"): PrefixChain {
  return chainOf(list, 16, images, salt);
}

Deno.test("chainOf makes a key for every full page and for nothing else", () => {
  const lengths = [0, 15, 16, 31, 32, 70];
  assert.deepEqual(lengths.map((length) => chain(tokens.slice(0, length)).pages), [0, 0, 1, 1, 2, 4]);
  assert.equal(chain(tokens).tokens, 64);
  assert.equal(shared(chain(tokens), chain(tokens.slice(0, 48))), 3);
});

Deno.test("chainOf gives equal pages at different places different keys", () => {
  const { keys } = chain(new Array(64).fill(5));
  const words = [0, 1, 2, 3].map((page) => keys.slice(page * KEY_WORDS, (page + 1) * KEY_WORDS).join());
  assert.equal(new Set(words).size, 4);
});

Deno.test("chainOf changes every key from the page of the first different token on", () => {
  for (const index of [0, 15, 16, 40, 63]) {
    const one = chain(tokens), other = chain(changed(index));
    assert.equal(shared(one, other), Math.floor(index / 16));
    for (let at = Math.floor(index / 16) * KEY_WORDS; at < one.keys.length; at++) {
      assert.notEqual(one.keys[at], other.keys[at]);
    }
  }
  assert.equal(shared(chain(tokens), chain(changed(65))), 4);
});

Deno.test("chainOf lets tenants with different salts share no page", () => {
  for (const salt of ["", "b", "aa", "A", "a\0"]) {
    assert.equal(shared(chain(tokens), chain(tokens, [], salt)), 0);
  }
});

Deno.test("chainOf tells images by their content, place and length from the first page they touch on", () => {
  const image = (firstToken: number, rows: number, hash: string) => ({ firstToken, rows, hash });
  const one = chain(tokens, [image(20, 30, "cat")]);
  assert.equal(shared(one, chain(tokens, [image(20, 30, "cat")])), 4);
  assert.equal(shared(one, chain(tokens, [image(20, 30, "dog")])), 1);
  assert.equal(shared(one, chain(tokens, [image(21, 30, "cat")])), 1);
  assert.equal(shared(one, chain(tokens, [image(20, 31, "cat")])), 1);
  assert.equal(shared(one, chain(tokens)), 1);
  // The second image differs; it begins in the page where the first one ends, token 50 of 48 … 63.
  const two = (hash: string) => chain(tokens, [image(20, 30, "cat"), image(50, 10, hash)]);
  assert.equal(shared(two("dog"), two("cow")), 3);
  // An image that ends where a page begins is no part of that page's own words, but of the state before it.
  assert.equal(shared(chain(tokens, [image(0, 16, "cat")]), chain(tokens, [image(0, 16, "dog")])), 0);
});

Deno.test("chainOf cuts pages that are no multiple of a hash block", () => {
  for (const pageSlots of [1, 5, 17, 40]) {
    const one = chainOf(tokens, pageSlots, [], "a");
    assert.equal(one.pages, Math.floor(70 / pageSlots));
    assert.equal(shared(one, chainOf(changed(39), pageSlots, [], "a")), Math.floor(39 / pageSlots));
  }
});
