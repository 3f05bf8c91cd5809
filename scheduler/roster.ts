/** All sequences that live, and the one place where what they hold goes back. */
import { assert } from "../lib/core/assert.ts";
import type { Pool } from "../pool/mod.ts";
import type { Deadlines } from "./deadlines.ts";
import type { PictureStore } from "./pictures.ts";
import type { ArrivalOrder } from "./rank.ts";
import type { Sequence, SequenceState } from "./sequence.ts";

interface Member {
  /** Called when the sequence has gone (its signal needs no listener any more). */
  readonly left: () => void;
  /** It has not had pages yet. */
  waiting: boolean;
}

export class Roster {
  readonly #members = new Map<Sequence, Member>();
  /** Called when the last sequence has gone. */
  onEmpty: (() => void) | null = null;

  constructor(
    private readonly pool: Pool,
    private readonly pictures: PictureStore,
    private readonly arrivals: ArrivalOrder,
    private readonly deadlines: Deadlines,
  ) {}

  get size(): number {
    return this.#members.size;
  }

  /** Sequences that hold pages. */
  get running(): number {
    return this.pool.sequences.size;
  }

  /** Sequences that hold none: not begun, or preempted. */
  get waiting(): number {
    return this.size - this.running;
  }

  /** Prompt tokens of the sequences that hold no pages. */
  get waitingTokens(): number {
    let tokens = 0;
    for (const { pages, admitted } of this.#members.keys()) {
      if (pages === null) tokens += admitted?.ids.length ?? 0;
    }
    return tokens;
  }

  sequences(): Iterable<Sequence> {
    return this.#members.keys();
  }

  count(state: SequenceState): number {
    let count = 0;
    for (const sequence of this.#members.keys()) if (sequence.state === state) count++;
    return count;
  }

  join(sequence: Sequence, left: () => void): void {
    this.#members.set(sequence, { left, waiting: true });
    this.deadlines.waits(sequence);
  }

  /** It has its first pages. */
  begun(sequence: Sequence): void {
    const member = this.#members.get(sequence);
    assert(member?.waiting, "a sequence begins once");
    this.#waitsNoLonger(sequence, member);
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
      this.#release(sequence, nowMs);
      return false;
    }
    sequence.timer.end(nowMs);
    return true;
  }

  /** Ends a sequence wherever it is. What it holds goes back now, or as soon as the device lets go of it. */
  end(sequence: Sequence, nowMs: number): void {
    sequence.moveTo("ended", nowMs);
    if (!sequence.inStep) this.#release(sequence, nowMs);
  }

  /** The prompt is stored: the features of its pictures are not needed any more. */
  releasePictures(sequence: Sequence): void {
    for (const picture of new Set(sequence.pictures)) this.pictures.release(picture, sequence);
    sequence.pictures = [];
  }

  /** Its pages go to others; it will compute what they held again. */
  takePages(sequence: Sequence, nowMs: number): void {
    assert(sequence.pages !== null && !sequence.inStep, "pages are taken between steps");
    this.pool.release(sequence.pages, nowMs);
    sequence.pages = null;
    sequence.lostCache();
  }

  #release(sequence: Sequence, nowMs: number): void {
    const member = this.#members.get(sequence);
    assert(member !== undefined, "a sequence goes once");
    if (member.waiting) this.#waitsNoLonger(sequence, member);
    this.#members.delete(sequence);
    this.deadlines.left(sequence);
    this.releasePictures(sequence);
    if (sequence.pages !== null) this.pool.release(sequence.pages, nowMs);
    sequence.pages = null;
    member.left();
    if (this.#members.size === 0) this.onEmpty?.();
  }

  #waitsNoLonger(sequence: Sequence, member: Member): void {
    member.waiting = false;
    this.arrivals.leave(sequence.request.tenant);
    this.deadlines.begun(sequence);
  }
}
