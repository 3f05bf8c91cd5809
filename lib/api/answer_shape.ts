/** What differs between the answers of the two endpoints. One object per request: a shape may count as it goes. */
import type { TokenLogprob } from "../../scheduler/messages.ts";

/** Fields of a choice beside `index`, `finish_reason` and `token_ids`. */
export type ChoiceFields = Readonly<Record<string, unknown>>;

export interface AnswerShape {
  readonly idPrefix: string;
  /** `object` of a whole answer, and of a chunk. */
  readonly object: string;
  readonly chunkObject: string;
  /** A whole answer. `logprobs` is null when none were asked for. */
  whole(text: string, logprobs: readonly TokenLogprob[] | null): ChoiceFields;
  /** One token of a stream; `first` for the one that opens it. */
  piece(text: string, logprob: TokenLogprob | null, first: boolean): ChoiceFields;
  /** The end of a stream with the text that was held back; `first` if no token came before. */
  last(text: string, first: boolean): ChoiceFields;
}
