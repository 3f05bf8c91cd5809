import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { openText } from "../../../lib/text/processor.ts";
import { fixture } from "../../support/fixtures.ts";

/** Spaces that each fixture's decoder takes from the start. */
const FIXTURES = { "llava-tiny": 0, "llama-text-tiny": 0, "llama2-text-tiny": 1 } as const;

for (const [name, leadingSpaces] of Object.entries(FIXTURES)) {
  const opened = openText(fixture(name).dir, { imageTokenId: null });

  Deno.test(`StreamingDetokenizer emits, over all pieces, the text of all bytes at once with ${name}`, async () => {
    const text = await opened;
    fc.assert(
      fc.property(fc.array(fc.nat(text.size + 2), { maxLength: 40 }), (ids) => {
        const detokenizer = text.detokenizer();
        const pieces = [...ids.map((id) => detokenizer.push(id)), detokenizer.finish()];
        const bytes = ids.filter((id) => !text.isSpecial(id)).flatMap((id) => [...text.tokenBytes(id)]);
        const stripped = leadingSpaces === 1 && bytes[0] === 0x20 ? bytes.slice(1) : bytes;
        const whole = new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(stripped));
        equal(pieces.join(""), whole);
        equal(text.decode(ids), whole);
        for (const piece of pieces) ok(piece.isWellFormed(), "no piece holds half a character");
      }),
      { numRuns: 500 },
    );
  });

  Deno.test(`StreamingDetokenizer emits every character of valid text with its last token with ${name}`, async () => {
    const text = await opened;
    const sentence = "Hé, 中文 and 😀👨‍👩‍👧 — \ufeffdone.";
    const detokenizer = text.detokenizer();
    let emitted = "";
    for (const id of text.encode(sentence, "chat", [])) {
      emitted += detokenizer.push(id);
      ok(!emitted.includes("\ufffd"));
      ok(sentence.startsWith(emitted));
    }
    equal(emitted, sentence);
    equal(detokenizer.finish(), "");
  });
}

Deno.test("StreamingDetokenizer writes one U+FFFD for a broken character, when it is certain that it is broken", async () => {
  const text = await openText(fixture("llama2-text-tiny").dir, { imageTokenId: null });
  const byte = (value: number) => idOfBytes(text.size, (id) => text.tokenBytes(id), [value]);
  const detokenizer = text.detokenizer();
  // Three bytes of a character of four, then one that begins another.
  deepEqual([0xf0, 0x9f, 0x98, 0xe4].map((value) => detokenizer.push(byte(value))), ["", "", "", "\ufffd"]);
  deepEqual([0xb8, 0xad].map((value) => detokenizer.push(byte(value))), ["", "中"]);
  equal(detokenizer.push(byte(0xc3)), "");
  equal(detokenizer.finish(), "\ufffd");
});

function idOfBytes(size: number, bytesOf: (id: number) => Uint8Array, wanted: readonly number[]): number {
  for (let id = 0; id < size; id++) {
    const bytes = bytesOf(id);
    if (bytes.length === wanted.length && wanted.every((byte, i) => bytes[i] === byte)) return id;
  }
  throw new Error(`no token has the bytes ${wanted.join(" ")}`);
}

Deno.test("StreamingDetokenizer leaves special tokens out, also before the first word", async () => {
  const text = await openText(fixture("llama2-text-tiny").dir, { imageTokenId: null });
  const words = text.encode("the quick", "chat", []);
  equal(text.decode([1, ...words, 2]), "the quick");
  equal(text.decode([...words, 2, ...words]), "the quick the quick");
});
