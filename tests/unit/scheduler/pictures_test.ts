import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import type { AdmittedImage } from "../../../scheduler/admission.ts";
import { EventChannel } from "../../../scheduler/channel.ts";
import { PictureStore } from "../../../scheduler/pictures.ts";
import { Sequence } from "../../../scheduler/sequence.ts";
import { requestOf } from "../../support/scripted_service.ts";

function sequenceOf(): Sequence {
  const channel = new EventChannel(4, { filled: () => {}, drained: () => {}, returned: () => {} });
  return new Sequence(requestOf("a"), channel, 0, { rankMs: 0, order: 0 });
}

const image = (hash: string, rows = 6): AdmittedImage => ({
  bytes: new Uint8Array(1),
  param: "",
  hash,
  rows,
  firstToken: 0,
});

Deno.test("PictureStore.take gives rows for all pictures of a request or for none", () => {
  const store = new PictureStore(16);
  const first = sequenceOf(), second = sequenceOf();
  const taken = store.take(first, [image("a")])!;
  assert.equal(store.take(second, [image("b"), image("c")]), null);
  assert.equal(store.size, 1);
  store.check(false);
  store.release(taken.pictures[0], first);
  assert.equal(store.take(second, [image("b"), image("c")])?.pictures.length, 2);
});

Deno.test("PictureStore.take shares a picture by its content, inside a request and between requests", () => {
  const store = new PictureStore(16);
  const first = sequenceOf(), second = sequenceOf();
  const one = store.take(first, [image("a"), image("a")])!;
  assert.equal(one.fresh.length, 1);
  const two = store.take(second, [image("a")])!;
  assert.deepEqual([two.fresh.length, two.pictures[0] === one.pictures[0]], [0, true]);
  store.release(one.pictures[0], first);
  assert.equal(store.size, 1);
  store.release(two.pictures[0], second);
  store.check(true);
});

Deno.test("PictureStore keeps the rows of a picture that is worked on until the work has ended", () => {
  const store = new PictureStore(8);
  const first = sequenceOf(), second = sequenceOf();
  let freed = 0;
  store.onRoom = () => freed++;
  const [picture] = store.take(first, [image("a")])!.pictures;
  picture.state = "encoding";
  store.release(picture, first);
  assert.equal(freed, 0);
  // Nobody joins a picture that is on its way out.
  assert.equal(store.take(second, [image("a")]), null);
  assert.equal(store.settle(picture, "encoded"), false);
  assert.equal(freed, 1);
  store.check(true);
});

Deno.test("PictureStore does not share a picture that has failed", () => {
  const store = new PictureStore(16);
  const first = sequenceOf(), second = sequenceOf();
  const [picture] = store.take(first, [image("a")])!.pictures;
  picture.state = "preparing";
  assert.equal(store.settle(picture, "failed"), true);
  const again = store.take(second, [image("a")])!;
  assert.equal(again.fresh.length, 1);
  store.release(picture, first);
  assert.equal(store.take(sequenceOf(), [image("a")])!.fresh.length, 0);
});

Deno.test("PictureStore.release refuses who does not hold the picture", () => {
  const store = new PictureStore(16);
  const [picture] = store.take(sequenceOf(), [image("a")])!.pictures;
  assert.throws(() => store.release(picture, sequenceOf()), AssertionError);
});

Deno.test("PictureStore.check notices a picture that was forgotten", () => {
  const store = new PictureStore(16);
  store.take(sequenceOf(), [image("a")]);
  store.check(false);
  assert.throws(() => store.check(true), AssertionError);
});

/** A picture that went through the tower and that nobody holds any more. */
function idle(store: PictureStore, hash: string): void {
  const sequence = sequenceOf();
  const { pictures: [picture], fresh } = store.take(sequence, [image(hash)])!;
  if (fresh.length > 0) {
    picture.state = "encoding";
    assert(store.settle(picture, "encoded"));
  }
  store.release(picture, sequence);
  store.check(true);
}

/** Which of these pictures have features in the store; looking at one makes it the most recently used. */
function kept(store: PictureStore, hash: string): boolean {
  const sequence = sequenceOf();
  const { pictures: [picture], fresh } = store.take(sequence, [image(hash)])!;
  store.release(picture, sequence);
  return fresh.length === 0;
}

Deno.test("PictureStore keeps features that nobody needs, and shares them without encoding again", () => {
  const store = new PictureStore(16);
  idle(store, "a");
  assert.equal(store.size, 1);
  assert.equal(kept(store, "a"), true);
});

Deno.test("PictureStore evicts the features that were not used for longest, and no more than it has to", () => {
  const store = new PictureStore(24);
  for (const hash of ["a", "b", "c", "a"]) idle(store, hash);
  store.take(sequenceOf(), [image("d"), image("e")]);
  store.check(false);
  assert.equal(store.size, 3);
  assert.equal(kept(store, "a"), true);
});

Deno.test("PictureStore never evicts a picture for another one of the same request", () => {
  const store = new PictureStore(16);
  idle(store, "a");
  idle(store, "b");
  const sequence = sequenceOf();
  const taken = store.take(sequence, [image("a"), image("c")])!;
  assert.deepEqual(taken.fresh.map(({ image }) => image.hash), ["c"]);
  assert.equal(kept(store, "a"), true);
  assert.equal(store.size, 2);
  store.check(false);
});

Deno.test("PictureStore evicts nothing that is held", () => {
  const store = new PictureStore(16);
  idle(store, "a");
  const [held] = store.take(sequenceOf(), [image("a")])!.pictures;
  assert.equal(store.take(sequenceOf(), [image("b"), image("c")]), null);
  assert.equal(held.state, "encoded");
  store.check(false);
});

Deno.test("PictureStore.clear forgets what nobody needs and gives every row back", () => {
  const store = new PictureStore(16);
  idle(store, "a");
  store.clear();
  assert.equal(store.size, 0);
  store.check(true);
  assert.equal(kept(store, "a"), false);
});
