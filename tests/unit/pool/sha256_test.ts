import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { BLOCK_WORDS, compressBlock, initialState } from "../../../pool/sha256.ts";

/** SHA-256 of a text, by {@link compressBlock}: the text, one bit, zeros and the length in bits make whole blocks. */
function digest(text: string): string {
  const bytes = new TextEncoder().encode(text);
  const padded = new DataView(new ArrayBuffer(Math.ceil((bytes.length + 9) / 64) * 64));
  bytes.forEach((byte, i) => padded.setUint8(i, byte));
  padded.setUint8(bytes.length, 0x80);
  padded.setUint32(padded.byteLength - 4, 8 * bytes.length);
  const words = Int32Array.from({ length: padded.byteLength / 4 }, (_, i) => padded.getInt32(4 * i));
  const state = initialState();
  for (let at = 0; at < words.length; at += BLOCK_WORDS) compressBlock(state, words, at);
  return [...state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

Deno.test("compressBlock makes the digests of SHA-256", () => {
  for (const text of ["", "abc", "x".repeat(55), "y".repeat(56), "a page of tokens ".repeat(100)]) {
    assert.equal(digest(text), createHash("sha256").update(text).digest("hex"));
  }
});
