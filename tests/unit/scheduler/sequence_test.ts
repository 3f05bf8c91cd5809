import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { FEATURE_ROW } from "../../../lib/ops/backend.ts";
import { chainOf, KvPool } from "../../../pool/mod.ts";
import type { AdmittedPrompt } from "../../../scheduler/admission.ts";
import { EventChannel } from "../../../scheduler/channel.ts";
import { Picture } from "../../../scheduler/pictures.ts";
import { Sequence } from "../../../scheduler/sequence.ts";
import { requestOf } from "../../support/scripted_service.ts";
import { IMAGE_ID } from "../../support/scripted_text.ts";
import { compressionBy } from "../../support/compressions.ts";

const IMAGE = { bytes: new Uint8Array(1), param: "", hash: "a", rows: 3, firstToken: 2 };
const IDS = [10, 11, IMAGE_ID, IMAGE_ID, IMAGE_ID, 12];

function sequenceOf(prompt: Partial<AdmittedPrompt> = {}): Sequence {
  const channel = new EventChannel(4, { filled: () => {}, drained: () => {}, returned: () => {} });
  const sequence = new Sequence(requestOf("a"), channel, 0, { rankMs: 0, order: 0 });
  sequence.admit({
    ids: IDS,
    positions: Uint32Array.from({ length: 18 }, (_, i) => Math.floor(i / 3)),
    positionsEnd: 6,
    images: [IMAGE],
    maxTokens: 4,
    compression: null,
    keepPages: 0,
    packRule: null,
    protect: [],
    chain: chainOf(IDS, 2, [], ""),
    ...prompt,
  }, 2);
  const pool = new KvPool({ layers: 2, pageSlots: 2, pageBytes: 8, pageCount: 20 });
  sequence.pages = pool.open(null, 0);
  pool.grow(sequence.pages, [8, 8]);
  sequence.pictures = [new Picture(IMAGE, 40)];
  return sequence;
}

Deno.test("Sequence.part names the rows of features, also when a chunk cuts a picture", () => {
  const sequence = sequenceOf();
  assert.equal(sequence.tokensToStore, 6);
  const first = sequence.part(4);
  assert.deepEqual([...first.tokens], [10, 11, FEATURE_ROW + 40, FEATURE_ROW + 41]);
  assert.equal(first.sampling, null);
  sequence.storedMore(4);
  const second = sequence.part(2);
  assert.deepEqual([...second.tokens], [FEATURE_ROW + 42, 12]);
  assert.deepEqual([...second.positions], [4, 4, 4, 5, 5, 5]);
  assert.deepEqual([...second.slotBase], [4, 4]);
  assert.equal(second.sampling, sequence.request.sampling);
});

Deno.test("Sequence.tokenPart goes on with original positions while compression has made the slots fewer", () => {
  const sequence = sequenceOf({ compression: compressionBy("knorm", 0.5) });
  sequence.storedMore(6);
  assert.equal(sequence.compressionDue, false, "not before its first token");
  sequence.took(50);
  assert.equal(sequence.compressionDue, true);
  sequence.becameCompressed();
  const first = sequence.tokenPart();
  assert.deepEqual([[...first.tokens], [...first.positions], [...first.slotBase], first.sampled], [
    [50],
    [6, 6, 6],
    [3, 3],
    1,
  ]);
  sequence.storedMore(1);
  sequence.took(51);
  const second = sequence.tokenPart();
  assert.deepEqual([[...second.positions], [...second.slotBase], second.sampled], [[7, 7, 7], [4, 4], 2]);
});

Deno.test("Sequence that lost its cache stores prompt and answer again and samples nothing anew", () => {
  const sequence = sequenceOf();
  sequence.storedMore(6);
  for (const token of [50, 51, 52]) sequence.took(token);
  sequence.storedMore(2);
  sequence.lostCache();
  assert.equal(sequence.tokensToStore, 8);
  const again = sequence.part(8);
  assert.deepEqual([...again.tokens.slice(5)], [12, 50, 51]);
  assert.deepEqual([...again.positions.slice(15)], [5, 5, 5, 6, 6, 6, 7, 7, 7]);
  assert.equal(again.sampling, null);
  sequence.storedMore(8);
  const next = sequence.tokenPart();
  assert.deepEqual([[...next.tokens], next.sampled, [...next.slotBase]], [[52], 3, [8, 8]]);
});

Deno.test("Sequence that was compressed and lost its cache stops at the same token to be compressed again", () => {
  const sequence = sequenceOf({ compression: compressionBy("knorm", 0.5) });
  sequence.storedMore(6);
  sequence.took(50);
  sequence.becameCompressed();
  sequence.storedMore(1);
  sequence.took(51);
  sequence.lostCache();
  assert.equal(sequence.tokensToStore, 6, "first the prompt");
  sequence.storedMore(6);
  assert.equal(sequence.compressionDue, true);
  sequence.becameCompressed();
  assert.equal(sequence.tokensToStore, 1, "then its own tokens through the compressed cache");
  const replay = sequence.part(1);
  assert.deepEqual([[...replay.tokens], [...replay.positions], [...replay.slotBase], replay.sampling], [
    [50],
    [6, 6, 6],
    [3, 3],
    null,
  ]);
});

Deno.test("Sequence that is compressed under pressure remembers the token at which it was", () => {
  const sequence = sequenceOf({ compression: compressionBy("knorm", 0.5, { underPressure: true }) });
  assert.equal(sequence.compressionPoint, null);
  sequence.storedMore(6);
  for (const token of [50, 51]) sequence.took(token);
  sequence.storedMore(1);
  sequence.compressHere("memory");
  assert.equal(sequence.compressionDue, true);
  sequence.becameCompressed();
  sequence.lostCache();
  assert.equal(sequence.tokensToStore, 7);
});

Deno.test("Sequence parts keep what they were given when the sequence goes on", () => {
  const sequence = sequenceOf();
  const part = sequence.part(2);
  sequence.storedMore(2);
  assert.deepEqual([...part.slotBase], [0, 0]);
});

Deno.test("Sequence.moveTo refuses a transition that is no stage's", () => {
  const sequence = sequenceOf();
  assert.throws(() => sequence.moveTo("decode", 1), AssertionError);
  sequence.moveTo("prefill", 1);
  sequence.moveTo("emit", 2);
  sequence.moveTo("compress", 3);
  assert.throws(() => sequence.moveTo("emit", 4), AssertionError);
  sequence.moveTo("ended", 4);
  assert.throws(() => sequence.moveTo("ended", 5), AssertionError);
});
