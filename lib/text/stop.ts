/** Stop strings in text that arrives in pieces. */

/**
 * Ends a text before the first stop string. The result does not depend on where the pieces were cut: the string that is
 * complete first wins, and of those complete with the same character the longest.
 */
export class StopMatcher {
  /** The longest end of the text so far that may be the beginning of a stop string. */
  #held = "";
  #stopped = false;

  /** `stops` are not empty strings. */
  constructor(private readonly stops: readonly string[]) {}

  /** Text that is certain by now. After `stopped` nothing follows. */
  push(text: string): { readonly text: string; readonly stopped: boolean } {
    if (this.#stopped) return { text: "", stopped: true };
    const all = this.#held + text;
    const end = this.#firstMatch(all);
    if (end !== null) {
      this.#held = "";
      this.#stopped = true;
      return { text: all.slice(0, end), stopped: true };
    }
    const certain = all.length - this.#heldLength(all);
    this.#held = all.slice(certain);
    return { text: all.slice(0, certain), stopped: false };
  }

  /** What was held back, when no more text comes. */
  flush(): string {
    const text = this.#held;
    this.#held = "";
    return text;
  }

  /** Where the text ends that stands before the first complete stop string. */
  #firstMatch(all: string): number | null {
    let start: number | null = null, end = Infinity;
    for (const stop of this.stops) {
      const at = all.indexOf(stop);
      if (at < 0) continue;
      const stopEnd = at + stop.length;
      if (stopEnd < end || (stopEnd === end && start !== null && at < start)) {
        start = at;
        end = stopEnd;
      }
    }
    return start;
  }

  #heldLength(all: string): number {
    let longest = 0;
    for (const stop of this.stops) {
      for (let length = Math.min(stop.length - 1, all.length); length > longest; length--) {
        if (all.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
