/** Log-probabilities of the tokens (of the unmodified logits) in the two shapes that clients know. */
import type { TokenLogprob } from "../../scheduler/messages.ts";

/** JSON has no −Infinity; other servers write this for a token that could not come. */
const LOGPROB_MIN = -9999;

function finite(logprob: number): number {
  return Math.max(logprob, LOGPROB_MIN);
}

function entry(token: { text: string; logprob: number; bytes: readonly number[] }) {
  return { token: token.text, logprob: finite(token.logprob), bytes: token.bytes };
}

/** `choices[].logprobs` of chat answers. */
export function chatLogprobs(tokens: readonly TokenLogprob[]) {
  return {
    content: tokens.map((token) => ({ ...entry(token), top_logprobs: token.top.map(entry) })),
    refusal: null,
  };
}

/** The alternatives of one token by text. The first of two that look alike is the likelier one and stays. */
function byText(token: TokenLogprob): Record<string, number> {
  const alternatives: Record<string, number> = {};
  for (const { text, logprob } of [...token.top, token]) alternatives[text] ??= finite(logprob);
  return alternatives;
}

/** `choices[].logprobs` of text completions. `offset`: characters of the tokens before these. */
export function textLogprobs(tokens: readonly TokenLogprob[], offset: number) {
  const offsets: number[] = [];
  for (const token of tokens) {
    offsets.push(offset);
    offset += token.text.length;
  }
  return {
    tokens: tokens.map((token) => token.text),
    token_logprobs: tokens.map((token) => finite(token.logprob)),
    top_logprobs: tokens.map(byText),
    text_offset: offsets,
  };
}
