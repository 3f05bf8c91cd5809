/** The alphabet of byte-level BPE: GPT-2 writes every byte as one printable character. */

/** Printable bytes stand for themselves; the other 68 take the characters from U+0100 on, in order. */
function alphabet(): Map<string, number> {
  const bytes = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    bytes.set(String.fromCharCode(printable ? byte : next++), byte);
  }
  return bytes;
}

const BYTES = alphabet();
const encoder = new TextEncoder();

/** The bytes of a token. One with a character outside the alphabet (an added token's) stands for its own text. */
export function byteLevelBytes(token: string): Uint8Array {
  const out = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTES.get(token[i]);
    if (byte === undefined) return encoder.encode(token);
    out[i] = byte;
  }
  return out;
}
