/** Text between the client and the model. */

/** A conversation as chat templates take it. */
export interface TemplateMessage {
  readonly role: string;
  readonly content:
    | string
    | readonly ({ readonly type: "text"; readonly text: string } | { readonly type: "image" })[];
}

/** A model's tokenizer, template and their conventions, loaded from its directory. */
export interface TextProcessor {
  /** Renders the chat template with `add_generation_prompt`. Throws RequestError when the template refuses. */
  render(messages: readonly TemplateMessage[]): string;
  /**
   * Token ids of rendered text, each image placeholder expanded to `imageTokens` placeholder ids in the text before tokenizing.
   * Special tokens are added for `chat` by multimodal models only, unless the text already starts with BOS (as transformers
   * does); always by the tokenizer's post-processor for `plain` prompts. Throws RequestError invalid_value when the text
   * has another number of placeholders than `imageTokens`, and context_length_exceeded, before any work, when its mere
   * length says that it has more than `tokensMax` tokens.
   */
  encode(text: string, mode: "chat" | "plain", imageTokens: readonly number[], tokensMax?: number): number[];
  /** Placeholder occurrences in rendered text; must equal the number of pictures. */
  countImages(text: string): number;
  /** The text of one token as it stands in the middle of a completion, and its bytes. */
  tokenBytes(id: number): Uint8Array;
  /** Special tokens are left out of completions. */
  isSpecial(id: number): boolean;
  /** All of `ids` at once, special tokens left out. */
  decode(ids: readonly number[]): string;
  /** A new incremental decoder for one completion. */
  detokenizer(): Detokenizer;
  /** Size of the id space of the tokenizer. */
  readonly size: number;
}

/** Incremental ids → text: emits whole characters only. The concatenation of all emitted text equals `decode` of all ids. */
export interface Detokenizer {
  push(id: number): string;
  /** What is left at the end (U+FFFD for a broken character). */
  finish(): string;
}
