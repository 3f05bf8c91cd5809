/** A model's chat template. */
import { Template } from "@huggingface/jinja";
import { RequestError, StartError } from "../core/errors.ts";
import { isRecord, type JsonObject, readJson, readText } from "../model/json.ts";
import type { TemplateMessage } from "./text.ts";

/** A template's text and the file that it came from. */
export interface TemplateSource {
  readonly file: string;
  readonly text: string;
}

/**
 * chat_template.jinja, else chat_template.json, else the tokenizer's own; null when there is none. Throws StartError
 * for a file that holds something else.
 */
export async function findTemplate(
  dir: string,
  tokenizerConfig: JsonObject | null,
): Promise<TemplateSource | null> {
  const jinja = `${dir}/chat_template.jinja`;
  const text = await readText(jinja);
  if (text !== null) return { file: jinja, text };
  const json = await readJson(`${dir}/chat_template.json`);
  const holder = json ?? tokenizerConfig;
  if (holder === null || !holder.has("chat_template")) return null;
  return { file: holder.file, text: templateText(holder) };
}

/** One template, or a list of named ones of which `default` is meant. */
function templateText(holder: JsonObject): string {
  const value = holder.value("chat_template");
  if (typeof value === "string") return value;
  const named = (holder.list("chat_template", isRecord, "a string or a list of named templates") ?? [])
    .find(({ name }) => name === "default");
  if (typeof named?.template === "string") return named.template;
  return holder.fail("chat_template", "a string or a list with a template named default");
}

export class ChatTemplate {
  readonly #template: Template;

  /** `variables`: special tokens by name. Throws StartError when the template does not parse. */
  constructor(source: TemplateSource, private readonly variables: Readonly<Record<string, string>>) {
    try {
      this.#template = new Template(source.text);
    } catch (error) {
      throw new StartError(`${source.file}: the chat template does not parse: ${messageOf(error)}`);
    }
  }

  /** Throws RequestError when the template refuses the conversation. */
  render(messages: readonly TemplateMessage[]): string {
    try {
      // transformers passes None for what a request does not have; templates compare with it.
      return this.#template.render({
        ...this.variables,
        messages,
        tools: null,
        documents: null,
        add_generation_prompt: true,
      });
    } catch (error) {
      throw new RequestError(
        "invalid_value",
        `The model's chat template refuses these messages: ${messageOf(error)}`,
        "messages",
      );
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
