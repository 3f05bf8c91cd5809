/** A model's text side: template, tokenizer and picture placeholders. */
import { RequestError, StartError } from "../core/errors.ts";
import type { ModelConfig } from "../model/config.ts";
import { readJson } from "../model/json.ts";
import { StreamingDetokenizer } from "./detokenizer.ts";
import { readSpecialTokens } from "./special_tokens.ts";
import { ChatTemplate, findTemplate } from "./template.ts";
import type { Detokenizer, TemplateMessage, TextProcessor } from "./text.ts";
import { Tokenizer } from "./tokenizer.ts";

const NOTHING = new Uint8Array(0);

interface Parts {
  readonly tokenizer: Tokenizer;
  readonly template: ChatTemplate | null;
  readonly bosToken: string | null;
  /** Text that stands for a picture; null for a text-only model. */
  readonly placeholder: string | null;
}

class ModelText implements TextProcessor {
  readonly size: number;
  readonly #tokenizer: Tokenizer;

  constructor(private readonly parts: Parts) {
    this.#tokenizer = parts.tokenizer;
    this.size = parts.tokenizer.size;
  }

  render(messages: readonly TemplateMessage[]): string {
    if (this.parts.template === null) {
      throw new RequestError(
        "invalid_value",
        "This model has no chat template: use /v1/completions.",
        "messages",
      );
    }
    const shaped = this.parts.placeholder === null ? messages.map(asString) : messages.map(asParts);
    return this.parts.template.render(shaped);
  }

  encode(
    text: string,
    mode: "chat" | "plain",
    imageTokens: readonly number[],
    tokensMax = Infinity,
  ): number[] {
    const least = text.length / this.#tokenizer.charactersPerTokenMax;
    if (least > tokensMax) {
      throw new RequestError(
        "context_length_exceeded",
        `The prompt has ${text.length} characters, at least ${
          Math.ceil(least)
        } tokens; at most ${tokensMax} tokens fit.`,
      );
    }
    const { placeholder, bosToken } = this.parts;
    const startsWithBos = bosToken !== null && text.startsWith(bosToken);
    const special = mode === "plain" || (placeholder !== null && !startsWithBos);
    return this.#tokenizer.encode(this.#expand(text, imageTokens), special);
  }

  countImages(text: string): number {
    return this.parts.placeholder === null ? 0 : text.split(this.parts.placeholder).length - 1;
  }

  tokenBytes(id: number): Uint8Array {
    const token = this.#tokenizer.token(id);
    return token === undefined ? NOTHING : this.#tokenizer.bytes.of(token, false);
  }

  isSpecial(id: number): boolean {
    return this.#tokenizer.isSpecial(id);
  }

  decode(ids: readonly number[]): string {
    const detokenizer = this.detokenizer();
    return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.finish();
  }

  detokenizer(): Detokenizer {
    return new StreamingDetokenizer(this.#tokenizer);
  }

  /** The n-th placeholder becomes as many as the n-th picture has features. */
  #expand(text: string, imageTokens: readonly number[]): string {
    const { placeholder } = this.parts;
    const pieces = placeholder === null ? [text] : text.split(placeholder);
    if (pieces.length - 1 !== imageTokens.length) {
      throw new RequestError(
        "invalid_value",
        `The prompt has ${pieces.length - 1} picture placeholders for ${imageTokens.length} pictures.` +
          (placeholder === null ? "" : ` Text must not contain ${placeholder} itself.`),
      );
    }
    return pieces.reduce((all, piece, index) => all + placeholder?.repeat(imageTokens[index - 1]) + piece);
  }
}

/** Templates of text models expect strings: the texts of a message become lines of one. */
function asString({ role, content }: TemplateMessage): TemplateMessage {
  if (typeof content === "string") return { role, content };
  const texts = content.map((part) => {
    if (part.type === "text") return part.text;
    throw new RequestError("unsupported_value", "This model takes no pictures.", "messages");
  });
  return { role, content: texts.join("\n") };
}

/** Templates of multimodal models expect lists: a string becomes one text part. */
function asParts({ role, content }: TemplateMessage): TemplateMessage {
  return { role, content: typeof content === "string" ? [{ type: "text", text: content }] : content };
}

/** Reads tokenizer and template of a model directory. Throws StartError naming the file that is missing or wrong. */
export async function openText(
  dir: string,
  config: Pick<ModelConfig, "imageTokenId">,
): Promise<TextProcessor> {
  const json = await readJson(`${dir}/tokenizer.json`);
  if (json === null) throw new StartError(`${dir} has no tokenizer: tokenizer.json is missing`);
  const tokenizerConfig = await readJson(`${dir}/tokenizer_config.json`);
  const special = readSpecialTokens(tokenizerConfig, await readJson(`${dir}/special_tokens_map.json`));
  const tokenizer = new Tokenizer(json, special);
  const source = await findTemplate(dir, tokenizerConfig);
  return new ModelText({
    tokenizer,
    template: source === null ? null : new ChatTemplate(source, special.named),
    bosToken: special.named.bos_token ?? null,
    placeholder: config.imageTokenId === null
      ? null
      : placeholderOf(tokenizer, config.imageTokenId, json.file),
  });
}

/** The text that always becomes exactly this token, so that repeating it repeats the token. */
function placeholderOf(tokenizer: Tokenizer, id: number, file: string): string {
  const text = tokenizer.token(id);
  if (text === undefined) {
    throw new StartError(`${file}: no token has the id ${id}, which config.json gives for a picture`);
  }
  const ids = tokenizer.encode(text + text, false);
  if (!tokenizer.isAdded(id) || ids.length !== 2 || ids.some((found) => found !== id)) {
    throw new StartError(
      `${file}: "${text}" does not always become the token ${id}, which config.json gives for a picture`,
    );
  }
  return text;
}
