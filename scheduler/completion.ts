/** The text of one completion as its tokens come. */
import type { SampledToken } from "../lib/engine/engine.ts";
import { StopMatcher } from "../lib/text/stop.ts";
import type { Detokenizer, TextProcessor } from "../lib/text/text.ts";
import type { TokenLogprob } from "./messages.ts";

export class Completion {
  readonly #detokenizer: Detokenizer;
  readonly #stop: StopMatcher;
  /** When its last token left, null before the first one. */
  lastTokenMs: number | null = null;
  /** Whether any text has left. */
  started = false;

  constructor(private readonly text: TextProcessor, stop: readonly string[]) {
    this.#detokenizer = text.detokenizer();
    this.#stop = new StopMatcher(stop);
  }

  /** Text that became certain with this token, and whether a stop string has ended the completion. */
  push(id: number): { readonly text: string; readonly stopped: boolean } {
    return this.#stop.push(this.#detokenizer.push(id));
  }

  /** What was held back: a broken character, the beginning of a stop string that did not come. */
  finish(): { readonly text: string; readonly stopped: boolean } {
    const last = this.#stop.push(this.#detokenizer.finish());
    return last.stopped ? last : { text: last.text + this.#stop.flush(), stopped: false };
  }

  /** The log-probabilities of a sampled token with their texts; null unless they were asked for. */
  logprob(token: SampledToken): TokenLogprob | null {
    if (token.logprob === null) return null;
    return {
      ...this.#entry(token.id, token.logprob),
      top: token.top.map(({ id, logprob }) => this.#entry(id, logprob)),
    };
  }

  #entry(id: number, logprob: number) {
    const bytes = this.text.tokenBytes(id);
    return { id, text: new TextDecoder().decode(bytes), bytes: [...bytes], logprob };
  }
}
