import { deepEqual, equal, throws } from "node:assert/strict";
import { JsonObject } from "../../../lib/model/json.ts";
import { StreamingDetokenizer } from "../../../lib/text/detokenizer.ts";
import { readTokenBytes } from "../../../lib/text/token_bytes.ts";

function read(decoder: unknown) {
  return readTokenBytes(new JsonObject("tokenizer.json", { decoder }));
}

/** Tokens one after the other through a detokenizer. */
function decode(decoder: unknown, tokens: readonly string[]): string {
  const texts = { token: (id: number) => tokens[id], isSpecial: () => false, bytes: read(decoder) };
  const detokenizer = new StreamingDetokenizer(texts);
  return tokens.map((_, id) => detokenizer.push(id)).join("") + detokenizer.finish();
}

const CHAIN = [
  { type: "Replace", pattern: { String: "▁" }, content: " " },
  { type: "ByteFallback" },
  { type: "Fuse" },
];
const STRIP = { type: "Strip", content: " ", start: 1, stop: 0 };

/** Texts that Hugging Face's tokenizers 0.23.2 gives for the same decoders. */
const EXPECTED: readonly (readonly [
  tokens: readonly string[],
  strip: string,
  fuse: string,
  metaspace: string,
  never: string,
])[] = [
  [["▁▁Hey", "▁you", "▁"], " Hey you ", "  Hey you ", "Hey you ", "  Hey you "],
  [["▁", "▁a"], " a", "  a", " a", "  a"],
  [["<0xE4>", "<0xB8>", "<0xAD>", "▁a"], "中 a", "中 a", "<0xE4><0xB8><0xAD> a", "<0xE4><0xB8><0xAD> a"],
  [["▁", "<0x20>", "a"], " a", "  a", "<0x20>a", " <0x20>a"],
];

Deno.test("readTokenBytes follows SentencePiece's chain, with and without the strip at the start", () => {
  for (const [tokens, strip, fuse] of EXPECTED) {
    equal(decode({ type: "Sequence", decoders: [...CHAIN, STRIP] }, tokens), strip);
    equal(decode({ type: "Sequence", decoders: CHAIN }, tokens), fuse);
  }
});

Deno.test("readTokenBytes follows Metaspace, whose first token has no spaces unless its scheme is never", () => {
  for (const [tokens, , , metaspace, never] of EXPECTED) {
    equal(decode({ type: "Metaspace", replacement: "▁", prepend_scheme: "always" }, tokens), metaspace);
    equal(decode({ type: "Metaspace", replacement: "▁", add_prefix_space: true }, tokens), metaspace);
    equal(decode({ type: "Metaspace", replacement: "▁", prepend_scheme: "never" }, tokens), never);
  }
});

Deno.test("readTokenBytes maps the byte-level alphabet to all 256 bytes, and other texts to themselves", () => {
  const { of } = read({ type: "ByteLevel" });
  deepEqual([...of("Ġa", false)], [0x20, 0x61]);
  deepEqual([...of("ä¸Ń", false)], [0xe4, 0xb8, 0xad]);
  deepEqual([...of("Ċ", false)], [0x0a]);
  deepEqual([...of("<|a b|>", false)], [...new TextEncoder().encode("<|a b|>")]);
  const alphabet = [..."!~¡¬®ÿ"].map((character) => of(character, false)[0]);
  deepEqual(alphabet, [0x21, 0x7e, 0xa1, 0xac, 0xae, 0xff]);
  const seen = new Set<number>();
  for (let code = 0; code < 0x144; code++) {
    const bytes = of(String.fromCharCode(code), false);
    if (code >= 0x21 && bytes.length === 1) seen.add(bytes[0]);
  }
  equal(seen.size, 256);
});

const refused: readonly (readonly [decoder: unknown, message: RegExp])[] = [
  [null, /decoder must be an object, found null/],
  [{ type: "WordPiece" }, /decoder\.type must be ByteLevel, Metaspace or Sequence/],
  [{ type: "Sequence", decoders: [{ type: "ByteFallback" }] }, /decoder\.decoders must be a chain with Fuse/],
  [{ type: "Sequence", decoders: [STRIP, ...CHAIN] }, /decoder\.decoders\[0\]\.type must be part of/],
  [
    { type: "Sequence", decoders: [...CHAIN, { ...STRIP, stop: 1 }] },
    /decoder\.decoders\[3\]\.stop must be 0, found 1/,
  ],
  [
    { type: "Sequence", decoders: [...CHAIN, { ...STRIP, content: "_" }] },
    /decoder\.decoders\[3\]\.content must be a space/,
  ],
  [{
    type: "Sequence",
    decoders: [{ type: "Replace", pattern: { Regex: "a+" }, content: "" }, { type: "Fuse" }],
  }, /pattern\.String must be a string/],
];

for (const [decoder, message] of refused) {
  Deno.test(`readTokenBytes refuses ${JSON.stringify(decoder)}`, () =>
    throws(() => read(decoder), { name: "StartError", message }));
}
