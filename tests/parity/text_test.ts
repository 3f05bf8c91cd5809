/** Prompts against transformers: what the template renders, and the ids that the model receives. */
import { deepEqual, equal, match } from "node:assert/strict";
import { openModel } from "../../lib/model/directory.ts";
import { openText } from "../../lib/text/processor.ts";
import type { TemplateMessage } from "../../lib/text/text.ts";
import { type CaseMessage, fixtures } from "../support/fixtures.ts";

function templateMessage({ role, content }: CaseMessage): TemplateMessage {
  if (typeof content === "string") return { role, content };
  return {
    role,
    content: content.map((part) =>
      part.type === "text" ? { type: "text", text: part.text } : { type: "image" }
    ),
  };
}

for (const { name, dir, cases } of fixtures()) {
  Deno.test(`TextProcessor renders and tokenizes every prompt of ${name} as transformers does`, async () => {
    const { config } = await openModel(dir);
    const text = await openText(dir, config);
    for (const { id, messages, expected } of cases) {
      const rendered = text.render(messages.map(templateMessage));
      equal(rendered, expected.prompt_text, id);
      const pictures = text.countImages(rendered);
      const each = config.vision?.imageTokens ?? 0;
      equal(pictures * each, expected.num_image_tokens ?? 0, id);
      const ids = text.encode(rendered, "chat", new Array<number>(pictures).fill(each));
      deepEqual(ids, expected.prompt_token_ids, id);
    }
  });

  Deno.test(`TextProcessor decodes every completion of ${name} as transformers does`, async () => {
    const { config } = await openModel(dir);
    const text = await openText(dir, config);
    for (const { id, expected } of cases) {
      match(text.decode(expected.generated_token_ids), replacementPattern(expected.generated_text), id);
    }
  });
}

/**
 * The reference writes one U+FFFD a byte for a run of byte tokens with a broken one among them; here good characters of
 * such a run stay. So n of them in a row stand for one to n characters.
 */
function replacementPattern(text: string): RegExp {
  const escaped = text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replace(/\ufffd+/g, (run) => `[^]{1,${run.length}}`)}$`, "u");
}
