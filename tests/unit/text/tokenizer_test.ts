import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { JsonObject, parseJson } from "../../../lib/model/json.ts";
import { readSpecialTokens } from "../../../lib/text/special_tokens.ts";
import { Tokenizer } from "../../../lib/text/tokenizer.ts";
import { fixture } from "../../support/fixtures.ts";

const NONE = readSpecialTokens(null, null);

function load(name: string): Tokenizer {
  const path = `${fixture(name).dir}/tokenizer.json`;
  return new Tokenizer(parseJson(path, Deno.readTextFileSync(path)), NONE);
}

/** Ids that Hugging Face's tokenizers 0.23.2 gives, without special tokens. */
const EXPECTED: readonly (readonly [text: string, byFixture: Readonly<Record<string, readonly number[]>>])[] =
  [
    // U+FEFF is no white space and U+0085 is: JavaScript's \s has it the other way round.
    ["a  \ufeffb", {
      "llava-tiny": [67, 223, 223, 174, 122, 126, 68],
      "llama-text-tiny": [64, 220, 220, 171, 119, 123, 65],
      "llama2-text-tiny": [446, 414, 414, 242, 190, 194, 310],
    }],
    ["a \u0085\u0085b", {
      "llava-tiny": [67, 465, 230, 129, 230, 68],
      "llama-text-tiny": [64, 492, 227, 126, 227, 65],
      "llama2-text-tiny": [446, 414, 197, 136, 197, 136, 310],
    }],
    // The space put in front of a text is put in front of every part between special tokens.
    ["<s>hello</s>the quick", {
      "llava-tiny": [1, 259, 289, 81, 2, 86, 259, 590, 330, 77],
      "llama2-text-tiny": [1, 610, 469, 323, 2, 441, 735, 508, 319],
    }],
    [" hello  world", {
      "llava-tiny": [443, 289, 81, 223, 286, 389, 78, 70],
      "llama2-text-tiny": [414, 610, 469, 323, 414, 467, 564, 320, 312],
    }],
    // Text that looks like a byte token is text; what has no token becomes bytes.
    ["<0x41>▁", { "llama2-text-tiny": [651, 273, 332, 277, 274, 287, 414] }],
    ["é中😀", {
      "llava-tiny": [417, 617, 440, 249, 225],
      "llama-text-tiny": [412, 609, 436, 246, 222],
      "llama2-text-tiny": [414, 349, 424, 243, 162, 155, 131],
    }],
    ["", { "llava-tiny": [], "llama-text-tiny": [], "llama2-text-tiny": [] }],
  ];

for (const name of ["llava-tiny", "llama-text-tiny", "llama2-text-tiny"]) {
  Deno.test(`Tokenizer gives the ids of Hugging Face's tokenizers with the files of ${name}`, () => {
    const tokenizer = load(name);
    for (const [text, expected] of EXPECTED) {
      if (expected[name] !== undefined) {
        deepEqual(tokenizer.encode(text, false), expected[name], JSON.stringify(text));
      }
    }
  });
}

Deno.test("Tokenizer adds what the post-processor says when asked", () => {
  deepEqual(load("llava-tiny").encode("the", true), [1, 86, 259]);
  deepEqual(load("llama2-text-tiny").encode("the", true), [1, 441]);
  deepEqual(load("llama2-text-tiny").encode("the", false), [441]);
});

Deno.test("Tokenizer knows its tokens, their number and which are special", () => {
  const tokenizer = load("llava-tiny");
  equal(tokenizer.size, 642);
  equal(tokenizer.token(640), "<image>");
  equal(tokenizer.token(642), undefined);
  deepEqual([1, 640, 100].map((id) => tokenizer.isSpecial(id)), [true, true, false]);
});

/** A byte-level tokenizer of three tokens. */
const TINY = {
  normalizer: null,
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: "ByteLevel" },
  added_tokens: [{ id: 2, content: "<end>", special: true }],
  model: { type: "BPE", vocab: { a: 0, b: 1, "<x>": 3 }, merges: [] },
};

function tiny(changes: object, config: object = {}): Tokenizer {
  const special = readSpecialTokens(new JsonObject("tokenizer_config.json", { ...config }), null);
  return new Tokenizer(new JsonObject("tokenizer.json", { ...TINY, ...changes }), special);
}

Deno.test("Tokenizer takes tokens that only tokenizer_config.json declares", () => {
  const declared = {
    added_tokens_decoder: { 7: { content: "<new>", special: false }, 2: { content: "<end>", special: true } },
  };
  const tokenizer = tiny({}, { ...declared, additional_special_tokens: ["<x>"] });
  deepEqual(tokenizer.encode("a<new>b<x>", false), [0, 7, 1, 3]);
  deepEqual([7, 2, 3].map((id) => tokenizer.isSpecial(id)), [false, true, true]);
  equal(tokenizer.size, 8);
});

Deno.test("Tokenizer bounds the characters of a token by its longest one", () => {
  equal(tiny({}).charactersPerTokenMax, "<end>".length);
  equal(tiny({ normalizer: { type: "NFC" } }).charactersPerTokenMax, 4 * "<end>".length);
});

Deno.test("Tokenizer gives no bound on characters where text may vanish", () => {
  const stripping = { added_tokens: [{ id: 2, content: "<end>", special: true, lstrip: true }] };
  const fusing = { model: { ...TINY.model, unk_token: "a", fuse_unk: true } };
  const shrinking = {
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "Replace", pattern: { String: "bb" }, content: "b" }],
    },
  };
  for (
    const changes of [stripping, fusing, shrinking, {
      normalizer: { type: "Strip", strip_left: true, strip_right: true },
    }]
  ) {
    equal(tiny(changes).charactersPerTokenMax, Infinity, JSON.stringify(changes));
  }
});

for (const name of ["llava-tiny", "llama-text-tiny", "llama2-text-tiny"]) {
  Deno.test(`Tokenizer never needs fewer tokens than its bound on characters says with ${name}`, () => {
    const tokenizer = load(name);
    for (const { expected } of fixture(name).cases) {
      const text = expected.prompt_text;
      const ids = tokenizer.encode(text, false);
      ok(Number.isFinite(tokenizer.charactersPerTokenMax));
      ok(text.length / tokenizer.charactersPerTokenMax <= ids.length);
    }
  });
}

const refused: readonly (readonly [changes: object, message: RegExp])[] = [
  [
    { model: { type: "WordPiece", vocab: {} } },
    /tokenizer\.json: model\.type must be BPE, found "WordPiece"/,
  ],
  [{ model: { ...TINY.model, vocab: { a: "0" } } }, /model\.vocab must be an object of tokens and ids/],
  [{ model: null }, /model must be an object/],
  [{ decoder: { type: "CTC" } }, /decoder\.type must be ByteLevel, Metaspace or Sequence, found "CTC"/],
  [{ pre_tokenizer: { type: "Unheard" } }, /tokenizer\.json: .*Unheard/],
  [{ added_tokens: [{ id: 2 }] }, /added_tokens must be a list of tokens with id and content/],
];

for (const [changes, message] of refused) {
  Deno.test(`Tokenizer refuses ${JSON.stringify(changes)}`, () =>
    throws(() => tiny(changes), { name: "StartError", message }));
}
