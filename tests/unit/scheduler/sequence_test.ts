import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { FEATURE_ROW } from "../../../lib/ops/backend.ts";
import { KvPool } from "../../../pool/mod.ts";
import type { AdmittedPrompt } from "../../../scheduler/admission.ts";
import { EventChannel } from "../../../scheduler/channel.ts";
import { Picture } from "../../../scheduler/pictures.ts";
import { Sequence } from "../../../scheduler/sequence.ts";
import { requestOf } from "../../support/scripted_service.ts";
import { IMAGE_ID } from "../../support/scripted_text.ts";

const IMAGE = { bytes: new Uint8Array(1), param: "", hash: "a", rows: 3, firstToken: 2 };

function sequenceOf(prompt: Partial<AdmittedPrompt> = {}): Sequence {
  const channel = new EventChannel(4, { drained: () => {}, returned: () => {} });
  const sequence = new Sequence(requestOf("a"), channel, 0);
  sequence.admitted = {
    ids: [10, 11, IMAGE_ID, IMAGE_ID, IMAGE_ID, 12],
    positions: Uint32Array.from({ length: 18 }, (_, i) => Math.floor(i / 3)),
    positionsEnd: 6,
    images: [IMAGE],
    maxTokens: 4,
    compression: { method: "knorm", ratio: 0.5, kept: 3 },
    quota: { pages: 20, pagesCompressed: 8 },
    ...prompt,
  };
  const pool = new KvPool({ layers: 2, pageSlots: 2, pageBytes: 8, pageCount: 20 });
  const reservation = pool.reserve(20);
  assert(reservation.ok);
  sequence.pages = reservation.pages;
  pool.grow(sequence.pages, [6, 6]);
  sequence.slots = new Uint32Array(2);
  sequence.pictures = [new Picture(IMAGE, 40)];
  return sequence;
}

Deno.test("Sequence.promptPart names the rows of features, also when a chunk cuts a picture", () => {
  const sequence = sequenceOf();
  const first = sequence.promptPart(4);
  assert.deepEqual([...first.tokens], [10, 11, FEATURE_ROW + 40, FEATURE_ROW + 41]);
  assert.equal(first.sampling, null);
  sequence.stored(4);
  sequence.prefilled = 4;
  const second = sequence.promptPart(2);
  assert.deepEqual([...second.tokens], [FEATURE_ROW + 42, 12]);
  assert.deepEqual([...second.positions], [4, 4, 4, 5, 5, 5]);
  assert.deepEqual([...second.slotBase], [4, 4]);
  assert.equal(second.sampling, sequence.request.sampling);
});

Deno.test("Sequence.tokenPart goes on with original positions while compression has made the slots fewer", () => {
  const sequence = sequenceOf();
  sequence.slots.fill(3);
  sequence.took(50);
  const first = sequence.tokenPart();
  assert.deepEqual([[...first.tokens], [...first.positions], [...first.slotBase], first.sampled], [
    [50],
    [6, 6, 6],
    [3, 3],
    1,
  ]);
  sequence.stored(1);
  sequence.took(51);
  const second = sequence.tokenPart();
  assert.deepEqual([[...second.positions], [...second.slotBase], second.sampled], [[7, 7, 7], [4, 4], 2]);
});

Deno.test("Sequence parts keep what they were given when the sequence goes on", () => {
  const sequence = sequenceOf();
  const part = sequence.promptPart(2);
  sequence.stored(2);
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
