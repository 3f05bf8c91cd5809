/**
 * Where recorded steps lie. A helper that was late may still be reading the tape of a step that is over, so tapes take
 * turns: one is written again when no helper reads it. One more than threads is enough, since the last one may be begun
 * upon at any time and each helper reads one at most.
 */
import { assert } from "../core/assert.ts";
import type { Arena } from "./memory.ts";
import type { Control } from "./threads.ts";

/** Some 170 layers of 24 operations. */
const OPERATIONS_MAX = 4096;
/** The longest operation has fewer words. */
const WORDS_OF_OPERATION = 32;

interface Place {
  readonly address: number;
  /** Of the step whose tape lies here; null before the first. */
  epoch: number | null;
}

export class Tapes {
  readonly #places: Place[];
  readonly #counterWords: number;
  #last: Place | null = null;
  /** Bytes of all places. */
  readonly bytes: number;

  constructor(arena: Arena, readonly memory: Int32Array, readonly control: Control) {
    this.#counterWords = control.counterWords(OPERATIONS_MAX);
    const bytes = 4 * (this.#counterWords + OPERATIONS_MAX * WORDS_OF_OPERATION);
    this.#places = Array.from(
      { length: control.threads + 1 },
      () => ({ address: arena.take(bytes), epoch: null }),
    );
    this.bytes = bytes * this.#places.length;
  }

  /** Lets the helpers run a tape of so many operations. Returns the word index of its copy in shared memory. */
  begin(words: readonly number[], operations: number): number {
    assert(
      operations <= OPERATIONS_MAX && words.length <= OPERATIONS_MAX * WORDS_OF_OPERATION,
      "a tape fits",
    );
    const place = this.#places.find((one) =>
      one !== this.#last && (one.epoch === null || !this.control.isRead(one.epoch))
    );
    assert(place !== undefined, "there are more tapes than helpers");
    this.#last = place;
    const counters = place.address >>> 2, tape = counters + this.#counterWords;
    this.memory.fill(0, counters, counters + this.control.counterWords(operations));
    this.memory.set(words, tape);
    place.epoch = this.control.begin(tape, words.length, counters);
    return tape;
  }
}
