/** How long completions turn out to be: what admission counts beside the prompt, since few reach their limit. */

/** Weight of the newest completion in the moving averages. */
const NEWEST_SHARE = 0.05;
/** Tokens expected before the first completion has ended. */
const FIRST_GUESS_TOKENS = 64;

export class OutputLength {
  #mean = FIRST_GUESS_TOKENS;
  #deviation = 0;

  ended(tokens: number): void {
    this.#deviation += NEWEST_SHARE * (Math.abs(tokens - this.#mean) - this.#deviation);
    this.#mean += NEWEST_SHARE * (tokens - this.#mean);
  }

  /** Tokens that a completion is expected to have when it has `sampled` already: never beyond its limit. */
  expected(sampled: number, maxTokens: number): number {
    const usual = Math.ceil(this.#mean + this.#deviation);
    // One that is longer than usual is expected to go on for as long as it has.
    const expected = sampled < usual ? usual : 2 * sampled;
    return Math.min(maxTokens, Math.max(1, expected));
  }
}
