/** All sequences that live, and the one place where what they hold goes back. */
import { assert } from "../lib/core/assert.ts";
import type { KvPool } from "../pool/mod.ts";
import type { PictureStore } from "./pictures.ts";
import type { Sequence, SequenceState } from "./sequence.ts";

export class Roster {
  readonly #sequences = new Map<Sequence, () => void>();
  /** Called when the last sequence has gone. */
  onEmpty: (() => void) | null = null;

  constructor(private readonly pool: KvPool, private readonly pictures: PictureStore) {}

  get size(): number {
    return this.#sequences.size;
  }

  /** Sequences that hold pages. */
  get running(): number {
    return this.pool.sequences.size;
  }

  sequences(): Iterable<Sequence> {
    return this.#sequences.keys();
  }

  count(state: SequenceState): number {
    let count = 0;
    for (const sequence of this.#sequences.keys()) if (sequence.state === state) count++;
    return count;
  }

  /** `left` is called when the sequence has gone (its signal needs no listener any more). */
  join(sequence: Sequence, left: () => void): void {
    this.#sequences.set(sequence, left);
  }

  enterStep(sequence: Sequence, nowMs: number): void {
    assert(!sequence.inStep, "a sequence is in one step at a time");
    sequence.inStep = true;
    sequence.timer.begin(nowMs);
  }

  /** The step is over. False when the sequence ended in its course: what it held has gone back now. */
  leaveStep(sequence: Sequence, nowMs: number): boolean {
    assert(sequence.inStep, "a sequence leaves the step it is in");
    sequence.inStep = false;
    if (sequence.ended) {
      this.#release(sequence);
      return false;
    }
    sequence.timer.end(nowMs);
    return true;
  }

  /** Ends a sequence wherever it is. What it holds goes back now, or as soon as the device lets go of it. */
  end(sequence: Sequence, nowMs: number): void {
    sequence.moveTo("ended", nowMs);
    if (!sequence.inStep) this.#release(sequence);
  }

  /** The prompt is stored: the features of its pictures are not needed any more. */
  releasePictures(sequence: Sequence): void {
    for (const picture of new Set(sequence.pictures)) this.pictures.release(picture, sequence);
    sequence.pictures = [];
  }

  #release(sequence: Sequence): void {
    const left = this.#sequences.get(sequence);
    assert(left !== undefined, "a sequence goes once");
    this.#sequences.delete(sequence);
    this.releasePictures(sequence);
    if (sequence.pages !== null) this.pool.release(sequence.pages);
    sequence.pages = null;
    left();
    if (this.#sequences.size === 0) this.onEmpty?.();
  }
}
