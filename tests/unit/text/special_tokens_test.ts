import { deepEqual } from "node:assert/strict";
import { JsonObject } from "../../../lib/model/json.ts";
import { readSpecialTokens } from "../../../lib/text/special_tokens.ts";

function read(config: Record<string, unknown> | null, map: Record<string, unknown> | null = null) {
  const object = (fields: Record<string, unknown> | null) =>
    fields === null ? null : new JsonObject("f.json", fields);
  return readSpecialTokens(object(config), object(map));
}

Deno.test("readSpecialTokens reads tokens written as text and as objects, and no switches", () => {
  const config = {
    bos_token: "<s>",
    eos_token: { content: "</s>", lstrip: false },
    add_bos_token: true,
    pad_token: null,
  };
  deepEqual(read(config).named, { bos_token: "<s>", eos_token: "</s>" });
});

Deno.test("readSpecialTokens lets tokenizer_config.json win over special_tokens_map.json", () => {
  const { named, additional } = read(
    { bos_token: "new", additional_special_tokens: ["<a>", { content: "<b>" }] },
    { bos_token: "old", unk_token: "<unk>", additional_special_tokens: ["<a>", "<c>"] },
  );
  deepEqual(named, { bos_token: "new", unk_token: "<unk>" });
  deepEqual(additional, ["<a>", "<c>", "<b>"]);
});

Deno.test("readSpecialTokens takes named extra tokens of newer files", () => {
  deepEqual(read({ extra_special_tokens: { image_token: "<image>" } }).additional, ["<image>"]);
});

Deno.test("readSpecialTokens reads declared tokens with the flags' defaults", () => {
  deepEqual(
    read({
      added_tokens_decoder: { "7": { content: "<x>", special: true, lstrip: true }, "8": { content: "y" } },
    }).declared,
    [
      {
        id: 7,
        content: "<x>",
        special: true,
        single_word: false,
        lstrip: true,
        rstrip: false,
        normalized: false,
      },
      {
        id: 8,
        content: "y",
        special: false,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: true,
      },
    ],
  );
});

Deno.test("readSpecialTokens finds nothing where there are no files", () => {
  deepEqual(read(null), { named: {}, additional: [], declared: [] });
});
