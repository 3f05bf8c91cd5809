import assert from "node:assert/strict";
import { KvPool } from "../../../pool/mod.ts";
import { expectedPages, growthPages } from "../../../scheduler/demand.ts";
import { OutputLength } from "../../../scheduler/output_length.ts";
import { admitted } from "../../support/sequences.ts";
import { compressionBy } from "../../support/compressions.ts";

const SHAPE = { layers: 2, pageSlots: 4, pageBytes: 64, pageCount: 200 };
const IDS = Array.from({ length: 40 }, (_, index) => index);

Deno.test("expectedPages covers the prompt and what the completion is expected to have, but its last token", () => {
  const output = new OutputLength();
  // 64 tokens are expected at first: 40 + 63 slots are 26 pages in each layer.
  assert.equal(expectedPages(admitted(IDS, SHAPE, { maxTokens: 1000 }), SHAPE, output), 2 * 26);
  assert.equal(expectedPages(admitted(IDS, SHAPE, { maxTokens: 1 }), SHAPE, output), 2 * 10);
});

Deno.test("expectedPages of a prompt to be compressed is its fullest moment: both copies, or the completion", () => {
  const compression = compressionBy("knorm", 0.5);
  const output = new OutputLength();
  const short = admitted(IDS, SHAPE, { maxTokens: 2, compression });
  assert.equal(expectedPages(short, SHAPE, output), 2 * 10 + 2 * 5);
  // 20 kept and 63 more slots are 21 pages in each layer.
  const long = admitted(IDS, SHAPE, { maxTokens: 1000, compression });
  assert.equal(expectedPages(long, SHAPE, output), 2 * 21);
});

Deno.test("expectedPages of a compressed sequence counts its raw cache no longer", () => {
  const compression = compressionBy("knorm", 0.5);
  const sequence = admitted(IDS, SHAPE, { maxTokens: 2, compression });
  sequence.storedMore(40);
  sequence.took(7);
  sequence.becameCompressed();
  assert.equal(expectedPages(sequence, SHAPE, new OutputLength()), 2 * 6, "20 kept slots and one more");
});

Deno.test("growthPages of packed slots looks at the tail behind them", () => {
  const pool = new KvPool(SHAPE);
  const sequence = admitted(IDS, SHAPE);
  sequence.pages = pool.open(null, 0);
  assert(pool.grow(sequence.pages, [40, 40]));
  assert(pool.beginReplacement(sequence.pages, [34, 36], { slots: Uint32Array.of(32, 32), codePages: 3 }));
  pool.finishReplacement(sequence.pages, 0, 0);
  sequence.slots.set([34, 36]);
  assert.equal(growthPages(sequence, SHAPE), 1, "4 slots of the second layer fill their page");
});

Deno.test("growthPages counts the layers whose last page is full", () => {
  const pool = new KvPool(SHAPE);
  const sequence = admitted(IDS, SHAPE);
  assert.equal(growthPages(sequence, SHAPE), 0, "it holds no pages that could grow");
  sequence.pages = pool.open(null, 0);
  assert(pool.grow(sequence.pages, [40, 40]));
  sequence.storedMore(39);
  assert.equal(growthPages(sequence, SHAPE), 0);
  sequence.storedMore(1);
  assert.equal(growthPages(sequence, SHAPE), 2);
  sequence.slots.set([39], 1);
  assert.equal(growthPages(sequence, SHAPE), 1);
});
