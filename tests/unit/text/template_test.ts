import { equal, rejects, throws } from "node:assert/strict";
import { RequestError } from "../../../lib/core/errors.ts";
import { JsonObject } from "../../../lib/model/json.ts";
import { ChatTemplate, findTemplate } from "../../../lib/text/template.ts";
import type { TemplateMessage } from "../../../lib/text/text.ts";
import { withFolder } from "../../support/model_files.ts";

const MESSAGES: readonly TemplateMessage[] = [
  { role: "system", content: "be brief" },
  { role: "user", content: "hi" },
];

function render(text: string, messages = MESSAGES): string {
  return new ChatTemplate({ file: "chat_template.jinja", text }, { bos_token: "<s>", image_token: "<image>" })
    .render(messages);
}

Deno.test("ChatTemplate drops line ends after blocks, blanks before them, and one line end at the end", () => {
  equal(
    render(
      "{% for m in messages %}\n    {% if m.role %}\n{{ m.content }}\n    {% endif %}\n{% endfor %}\nend\n",
    ),
    "be brief\nhi\nend",
  );
});

Deno.test("ChatTemplate has namespaces, filtered loops, special tokens and the generation prompt", () => {
  equal(
    render(
      "{% set ns = namespace(n=0) %}{% for m in messages if m['role'] != 'system' %}{% set ns.n = ns.n + 1 %}" +
        "{{ bos_token ~ image_token }}{{ loop.first }}{% endfor %}{{ ns.n }}{% if add_generation_prompt %}!{% endif %}",
    ),
    "<s><image>true1!",
  );
});

Deno.test("ChatTemplate has no tools and no documents, by the names and by the test", () => {
  equal(render("{{ tools is none }}{{ documents is none }}{% if tools %}x{% endif %}"), "truetrue");
});

Deno.test("ChatTemplate can write the date", () => {
  equal(/^\d{4}-\d\d-\d\d$/.test(render("{{ strftime_now('%Y-%m-%d') }}")), true);
});

Deno.test("ChatTemplate turns a template's refusal into a request's error with its message", () => {
  throws(() => render("{{ raise_exception('Roles must alternate') }}"), (error) => {
    equal(error instanceof RequestError && error.code, "invalid_value");
    equal((error as Error).message, "The model's chat template refuses these messages: Roles must alternate");
    return true;
  });
  throws(() => render("{{ nothing() }}"), RequestError);
});

Deno.test("ChatTemplate refuses at load a template that does not parse, naming its file", () => {
  throws(() => render("{% for m in %}"), {
    name: "StartError",
    message: /^chat_template\.jinja: the chat template does not parse: /,
  });
});

function found(
  files: Record<string, string | object>,
  tokenizer: Record<string, unknown> = {},
): Promise<string | null> {
  return new Promise((resolve, reject) => {
    withFolder(files, async (dir) => {
      const source = await findTemplate(dir, new JsonObject("tokenizer_config.json", tokenizer));
      resolve(source?.text ?? null);
    }).catch(reject);
  });
}

Deno.test("findTemplate prefers the file of its own, then chat_template.json, then the tokenizer's", async () => {
  const tokenizer = { chat_template: "three" };
  const json = { "chat_template.json": { chat_template: "two" } };
  equal(await found({ ...json, "chat_template.jinja": "one" }, tokenizer), "one");
  equal(await found(json, tokenizer), "two");
  equal(await found({}, tokenizer), "three");
  equal(await found({}), null);
});

Deno.test("findTemplate takes the default of several named templates", async () => {
  const named = [{ name: "tool_use", template: "a" }, { name: "default", template: "b" }];
  equal(await found({}, { chat_template: named }), "b");
  await rejects(found({}, { chat_template: [named[0]] }), {
    name: "StartError",
    message: /tokenizer_config\.json: chat_template must be a string or a list with a template named default/,
  });
  await rejects(found({}, { chat_template: 3 }), { name: "StartError" });
});
