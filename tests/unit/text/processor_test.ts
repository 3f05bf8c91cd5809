import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import { openText } from "../../../lib/text/processor.ts";
import type { TextProcessor } from "../../../lib/text/text.ts";
import { fixture } from "../../support/fixtures.ts";
import { withCopy } from "../../support/model_files.ts";

const llava = await openText(fixture("llava-tiny").dir, { imageTokenId: 640 });
const llama2 = await openText(fixture("llama2-text-tiny").dir, { imageTokenId: null });
const llama = await openText(fixture("llama-text-tiny").dir, { imageTokenId: null });

function code(run: () => unknown): string | null {
  try {
    run();
  } catch (error) {
    if (error instanceof RequestError) return error.code;
    throw error;
  }
  return null;
}

Deno.test("TextProcessor.encode puts BOS before a multimodal chat unless it is there", () => {
  equal(llava.encode("hi", "chat", [])[0], 1);
  deepEqual(llava.encode("<s>hi", "chat", []), llava.encode("hi", "chat", []));
});

Deno.test("TextProcessor.encode puts BOS before a plain prompt and never before a text model's chat", () => {
  equal(llama.encode("hi", "plain", [])[0], 900);
  equal(llama.encode("hi", "chat", []).includes(900), false);
});

Deno.test("TextProcessor.encode expands the n-th placeholder to the n-th picture's tokens", () => {
  const ids = llava.encode("a<image>b<image><image>c", "chat", [2, 3, 1]);
  const runs = ids.map((id) => id === 640 ? "i" : ".").join("");
  equal(runs, "..ii.iiii.");
});

Deno.test("TextProcessor.encode refuses a text with another number of placeholders than pictures", () => {
  equal(code(() => llava.encode("a <image> of mine", "chat", [])), "invalid_value");
  equal(code(() => llava.encode("none", "chat", [36])), "invalid_value");
  equal(code(() => llama.encode("none", "chat", [36])), "invalid_value");
  equal(code(() => llama.encode("<image> is a word here", "chat", [])), null);
});

Deno.test("TextProcessor.encode refuses by its length alone a text that cannot fit", () => {
  const long = "ab ".repeat(1 << 22);
  const begun = performance.now();
  equal(code(() => llama.encode(long, "chat", [], 2048)), "context_length_exceeded");
  equal(performance.now() - begun < 3_000, true, "the text was not tokenized: that takes some ten seconds");
  equal(code(() => llama.encode("ab ".repeat(600), "chat", [], 2048)), null);
});

Deno.test("TextProcessor.countImages counts placeholders of multimodal models only", () => {
  equal(llava.countImages("<image><image> and <image>"), 3);
  equal(llama.countImages("<image>"), 0);
});

Deno.test("TextProcessor.render makes a string one text part for a multimodal template", () => {
  const rendered = llava.render([{ role: "user", content: "hi" }]);
  equal(rendered, llava.render([{ role: "user", content: [{ type: "text", text: "hi" }] }]));
  equal(rendered, "USER: hi ASSISTANT:");
});

Deno.test("TextProcessor.render joins text parts to lines for a text model, and takes no pictures there", () => {
  const parts = [{ type: "text", text: "one" }, { type: "text", text: "two" }] as const;
  equal(
    llama.render([{ role: "user", content: parts }]),
    llama.render([{ role: "user", content: "one\ntwo" }]),
  );
  equal(code(() => llama.render([{ role: "user", content: [{ type: "image" }] }])), "unsupported_value");
});

Deno.test("TextProcessor.render without a template points to the completions endpoint", async () => {
  await withCopy(fixture("llama-text-tiny").dir, { "chat_template.jinja": null }, async (dir) => {
    const text = await openText(dir, { imageTokenId: null });
    throws(() => text.render([{ role: "user", content: "hi" }]), {
      name: "RequestError",
      code: "invalid_value",
      message: "This model has no chat template: use /v1/completions.",
    });
  });
});

Deno.test("TextProcessor.tokenBytes gives a token as it stands in the middle of a text, and nothing for unknown ids", () => {
  const texts = (text: TextProcessor) => {
    const ids = text.encode("the quick", "chat", []);
    return ids.map((id) => new TextDecoder().decode(text.tokenBytes(id)));
  };
  deepEqual(texts(llava), ["<s>", "t", "he", " qu", "ic", "k"]);
  // The space that the tokenizer puts in front belongs to the token, also where a text begins with it.
  deepEqual(texts(llama2), [" the", " qu", "ic", "k"]);
  equal(new TextDecoder().decode(llava.tokenBytes(640)), "<image>");
  equal(llava.tokenBytes(llava.size).length, 0);
});

Deno.test("openText says what is wrong with a directory's tokenizer", async () => {
  const { dir } = fixture("llava-tiny");
  await withCopy(
    dir,
    { "tokenizer.json": null },
    (copy) =>
      rejects(openText(copy, { imageTokenId: 640 }), {
        name: "StartError",
        message: /has no tokenizer: tokenizer\.json is missing/,
      }),
  );
  await rejects(openText(dir, { imageTokenId: 9999 }), {
    name: "StartError",
    message: /tokenizer\.json: no token has the id 9999, which config\.json gives for a picture/,
  });
  // An ordinary token merges with what stands beside it.
  const ordinary = llava.encode("he", "chat", [])[1];
  await rejects(openText(dir, { imageTokenId: ordinary }), {
    name: "StartError",
    message: /does not always become the token/,
  });
});
