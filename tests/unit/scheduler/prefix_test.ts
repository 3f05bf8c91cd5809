import assert from "node:assert/strict";
import { KvPool } from "../../../pool/mod.ts";
import { Picture } from "../../../scheduler/pictures.ts";
import { cachedTokens, needsFeatures } from "../../../scheduler/prefix.ts";
import { admitted } from "../../support/sequences.ts";

const SHAPE = { layers: 2, pageSlots: 4, pageBytes: 64, pageCount: 64 };
const IDS = Array.from({ length: 12 }, (_, index) => 20 + index);

/** A pool whose cache has the first `tokens` tokens of `ids`. */
function poolWith(tokens: number, images: { firstToken: number; rows: number }[] = []): KvPool {
  const pool = new KvPool(SHAPE);
  const { prompt } = admitted(IDS, SHAPE, { images });
  const pages = pool.open(prompt.chain, 0);
  assert(pool.grow(pages, [tokens, tokens]));
  pool.publish(pages, tokens);
  pool.release(pages);
  return pool;
}

Deno.test("cachedTokens counts whole pages and always leaves a token to sample from", () => {
  assert.equal(cachedTokens(admitted(IDS, SHAPE), poolWith(8)), 8);
  assert.equal(cachedTokens(admitted(IDS, SHAPE), poolWith(12)), 8, "the last page holds the last token");
  assert.equal(cachedTokens(admitted([...IDS, 1], SHAPE), poolWith(12)), 12);
  assert.equal(cachedTokens(admitted([99, ...IDS.slice(1)], SHAPE), poolWith(12)), 0);
});

Deno.test("needsFeatures says so until the cache has every token of the last picture", () => {
  const images = [{ firstToken: 1, rows: 3 }, { firstToken: 5, rows: 3 }];
  const asking = () => admitted(IDS, SHAPE, { images });
  assert.equal(needsFeatures(asking(), poolWith(4, images)), true);
  assert.equal(needsFeatures(asking(), poolWith(8, images)), false);
});

Deno.test("needsFeatures is content with features that are held, and with a prompt without pictures", () => {
  const images = [{ firstToken: 1, rows: 3 }];
  const sequence = admitted(IDS, SHAPE, { images });
  const empty = new KvPool(SHAPE);
  assert.equal(needsFeatures(sequence, empty), true);
  sequence.pictures = [new Picture(sequence.prompt.images[0], 0)];
  assert.equal(needsFeatures(sequence, empty), false);
  assert.equal(needsFeatures(admitted(IDS, SHAPE), empty), false);
});
