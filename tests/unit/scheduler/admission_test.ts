import assert from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import { IMAGES_PER_REQUEST_MAX } from "../../../lib/core/limits.ts";
import { type AdmissionParts, admit } from "../../../scheduler/admission.ts";
import type { Compression, ContentPart, GenerateRequest } from "../../../scheduler/messages.ts";
import { PictureStore } from "../../../scheduler/pictures.ts";
import { scriptedFacts } from "../../support/scripted_engine.ts";
import { requestOf } from "../../support/scripted_service.ts";
import { BAD_HEADER, IMAGE_ID, ScriptedImages, ScriptedText } from "../../support/scripted_text.ts";
import { compressionBy } from "../../support/compressions.ts";

const MODEL = { maxModelLen: 100, eosTokenIds: [1], imageTokenId: IMAGE_ID, imageTokens: 5 };

function partsOf(parts: Partial<AdmissionParts> = {}): AdmissionParts {
  return {
    text: new ScriptedText(),
    images: new ScriptedImages(),
    pictures: new PictureStore(64),
    pool: { layers: 2, pageSlots: 4, pageBytes: 64, pageCount: 200 },
    facts: scriptedFacts(),
    model: MODEL,
    defaults: { maxTokens: null, compression: null },
    ...parts,
  };
}

const picture = (...bytes: number[]): ContentPart => ({
  type: "image",
  bytes: Uint8Array.from(bytes),
  param: "messages[0].content[1].image_url.url",
});

function refusal(request: GenerateRequest, parts: AdmissionParts = partsOf()) {
  try {
    admit(request, parts);
  } catch (error) {
    assert(error instanceof RequestError);
    return { code: error.code, param: error.param };
  }
  return assert.fail("the request was admitted");
}

Deno.test("admit places every picture where its placeholders stand", () => {
  const content: ContentPart[] = [
    { type: "text", text: "abc" },
    picture(1),
    { type: "text", text: "de" },
    picture(2),
  ];
  const prompt = admit(requestOf(content), partsOf());
  assert.equal(prompt.ids.length, 3 + 5 + 2 + 5);
  assert.deepEqual(prompt.images.map(({ firstToken, rows }) => [firstToken, rows]), [[3, 5], [10, 5]]);
  assert.notEqual(prompt.images[0].hash, prompt.images[1].hash);
});

Deno.test("admit gives plain text three equal positions a token", () => {
  const { positions, positionsEnd } = admit(requestOf("abc"), partsOf());
  assert.deepEqual([...positions], [0, 0, 0, 1, 1, 1, 2, 2, 2]);
  assert.equal(positionsEnd, 3);
});

Deno.test("admit takes the server's limit for requests without one, as far as context and pool allow", () => {
  const request = requestOf("abcd", { maxTokens: null });
  assert.equal(admit(request, partsOf()).maxTokens, 96);
  assert.equal(admit(request, partsOf({ defaults: { maxTokens: 16, compression: null } })).maxTokens, 16);
  // 20 pages of 2 layers: 40 slots, four of them the prompt's; the last token takes none.
  const small = { layers: 2, pageSlots: 4, pageBytes: 64, pageCount: 20 };
  assert.equal(admit(request, partsOf({ pool: small })).maxTokens, 37);
});

Deno.test("admit takes the server's compression unless the request says none", () => {
  const defaults = { maxTokens: null, compression: compressionBy("knorm", 0.5) } as const;
  const chosen = (compression: GenerateRequest["compression"]) =>
    admit(requestOf("abcdefgh", { compression }), partsOf({ defaults })).compression ?? null;
  assert.deepEqual(chosen(undefined), defaults.compression);
  assert.equal(chosen(null), null);
  assert.deepEqual(chosen(compressionBy("mean-pool", 0.75)), compressionBy("mean-pool", 0.75));
});

Deno.test("admit refuses what does not fit the context and names the field", () => {
  assert.deepEqual(refusal(requestOf("a".repeat(100))), {
    code: "context_length_exceeded",
    param: "messages",
  });
  assert.deepEqual(refusal(requestOf("a".repeat(99), { maxTokens: 2 })), {
    code: "context_length_exceeded",
    param: "max_tokens",
  });
  assert.equal(admit(requestOf("a".repeat(99), { maxTokens: 1 }), partsOf()).maxTokens, 1);
});

Deno.test("admit refuses what can never fit the pool", () => {
  const pool = { layers: 2, pageSlots: 4, pageBytes: 64, pageCount: 8 };
  assert.deepEqual(refusal(requestOf("a".repeat(17), { maxTokens: 1 }), partsOf({ pool })), {
    code: "context_length_exceeded",
    param: "messages",
  });
  assert.deepEqual(refusal(requestOf("a".repeat(16), { maxTokens: 2 }), partsOf({ pool })), {
    code: "context_length_exceeded",
    param: "max_tokens",
  });
  assert.equal(admit(requestOf("a".repeat(16), { maxTokens: 1 }), partsOf({ pool })).maxTokens, 1);
});

Deno.test("admit refuses a picture for a text-only model before it looks at it", () => {
  const parts = partsOf({ model: { ...MODEL, imageTokenId: null, imageTokens: 0 } });
  assert.deepEqual(refusal(requestOf([picture(BAD_HEADER)]), parts), {
    code: "unsupported_value",
    param: "messages[0].content[1].image_url.url",
  });
});

Deno.test("admit passes on what the preparer says of a header", () => {
  assert.deepEqual(refusal(requestOf([picture(BAD_HEADER)])), {
    code: "invalid_image_format",
    param: "messages[0].content[1].image_url.url",
  });
});

Deno.test("admit refuses more pictures than a request may have", () => {
  const content = Array.from({ length: IMAGES_PER_REQUEST_MAX + 1 }, () => picture(1));
  assert.deepEqual(refusal(requestOf(content)), { code: "invalid_value", param: "messages" });
});

Deno.test("admit refuses pictures whose features never fit the store at one time", () => {
  const content = [picture(1), picture(2), picture(3)];
  assert.deepEqual(refusal(requestOf(content), partsOf({ pictures: new PictureStore(12) })), {
    code: "context_length_exceeded",
    param: "messages",
  });
  // The same picture three times has its features once.
  admit(requestOf([picture(1), picture(1), picture(1)]), partsOf({ pictures: new PictureStore(12) }));
});

Deno.test("admit refuses a placeholder that no picture stands for", () => {
  assert.deepEqual(refusal(requestOf("a\u0001")), { code: "invalid_value", param: "messages" });
  const text = requestOf("", { prompt: { kind: "text", text: "a\u0001", param: "prompt" } });
  assert.deepEqual(refusal(text), { code: "invalid_value", param: "prompt" });
  const tokens = requestOf("", { prompt: { kind: "tokens", tokens: [5, IMAGE_ID], param: "prompt" } });
  assert.deepEqual(refusal(tokens), { code: "invalid_value", param: "prompt" });
});

Deno.test("admit refuses a prompt without tokens", () => {
  assert.deepEqual(refusal(requestOf("")), { code: "invalid_value", param: "messages" });
});

Deno.test("admit takes token ids as they are", () => {
  const request = requestOf("", { prompt: { kind: "tokens", tokens: [5, 6, 7], param: "prompt" } });
  assert.deepEqual(admit(request, partsOf()).ids, [5, 6, 7]);
});

Deno.test("admit finds the tokens of protected messages, pictures too", () => {
  const compression: Compression = { ...compressionBy("knorm", 0.5), protect: ["last_user"] };
  const messages = [
    { role: "system", content: "abc" },
    { role: "user", content: [{ type: "text", text: "de" }, picture(1)] },
  ] as const;
  const prompt = admit(
    requestOf("", { prompt: { kind: "chat", messages, param: "messages" }, compression }),
    partsOf(),
  );
  assert.deepEqual(prompt.protect, [{ first: 3, count: 7 }]);
});

Deno.test("admit refuses to protect messages of a prompt that has none", () => {
  const compression: Compression = { ...compressionBy("knorm", 0.5), protect: ["system"] };
  for (
    const prompt of [
      { kind: "tokens", tokens: [3, 4], param: "prompt" },
      { kind: "text", text: "abc", param: "prompt" },
    ] as const
  ) {
    const refused = refusal(requestOf("", { prompt, compression }));
    assert.deepEqual(refused, { code: "invalid_value", param: "kv_compression.protect" });
  }
});
