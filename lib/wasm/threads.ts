/**
 * The threads of a step. The engine's own thread is thread 0; helpers spin for a while after each step, then sleep until
 * the next. A barrier between operations works the same way: as long as a wake-up takes, spinning is cheaper; after
 * that a core must not be kept from HTTP and picture decoding.
 */
import { CONTROL } from "./layout.ts";

/**
 * Rounds of spinning before sleeping. The most is about what waking up takes: less, and every sleep makes the other side
 * sleep too. A wait that ended in sleep halves the next one's spinning, one that did not doubles it: when other processes
 * take the cores, spinning is what keeps the thread that is waited for from running.
 */
const SPIN_ROUNDS_MAX = 30_000;
const SPIN_ROUNDS_MIN = 8_000;

/** Words of the control block, each on its own cache line. */
const Word = {
  arrived: 0,
  phase: 16,
  sleepers: 32,
  epoch: 48,
  idle: 64,
  /** Word address and length of the tape; length 0 ends the helpers. */
  tape: 80,
  length: 81,
  /** Set by a thread that failed. */
  failed: 96,
  /** Helpers that have begun to wait for their first step. */
  ready: 112,
} as const;

export class Control {
  readonly #words: Int32Array;
  #spinRounds = SPIN_ROUNDS_MAX;
  #sleeps = 0;

  constructor(memory: WebAssembly.Memory, readonly threads: number) {
    this.#words = new Int32Array(memory.buffer, CONTROL, 128);
  }

  /** Returns when all threads have called it. */
  meet(): void {
    if (this.threads === 1) return;
    const words = this.#words;
    const phase = Atomics.load(words, Word.phase);
    if (Atomics.add(words, Word.arrived, 1) === this.threads - 1) {
      Atomics.store(words, Word.arrived, 0);
      Atomics.store(words, Word.phase, phase + 1);
      if (Atomics.load(words, Word.sleepers) > 0) Atomics.notify(words, Word.phase);
      return;
    }
    this.#waitWhile(Word.phase, phase, Word.sleepers);
  }

  /** Helper: says that it waits for steps from now on. */
  report(): void {
    Atomics.add(this.#words, Word.ready, 1);
  }

  /** Whether all helpers wait for steps. */
  get ready(): boolean {
    return Atomics.load(this.#words, Word.ready) === this.threads - 1;
  }

  /** Thread 0: lets the helpers run a tape. */
  begin(tape: number, length: number): void {
    const words = this.#words;
    words[Word.tape] = tape;
    words[Word.length] = length;
    Atomics.add(words, Word.epoch, 1);
    if (Atomics.load(words, Word.idle) > 0) Atomics.notify(words, Word.epoch);
  }

  /** Helper: waits for the next tape. Null when there will be none. */
  next(seen: number): { readonly epoch: number; readonly tape: number; readonly length: number } | null {
    const words = this.#words;
    this.#waitWhile(Word.epoch, seen, Word.idle);
    const length = words[Word.length];
    return length === 0
      ? null
      : { epoch: Atomics.load(words, Word.epoch), tape: words[Word.tape] >>> 0, length };
  }

  /** Says that a thread could not do its share; the step is lost but nobody waits for it. */
  fail(): void {
    Atomics.store(this.#words, Word.failed, 1);
  }

  /** Whether any thread failed since the last call. */
  takeFailure(): boolean {
    return Atomics.exchange(this.#words, Word.failed, 0) === 1;
  }

  /** How often this thread slept since the last call. */
  takeSleeps(): number {
    const sleeps = this.#sleeps;
    this.#sleeps = 0;
    return sleeps;
  }

  #waitWhile(word: number, value: number, sleepers: number): void {
    const words = this.#words;
    for (let round = 0; round < this.#spinRounds; round++) {
      if (Atomics.load(words, word) !== value) {
        this.#spinRounds = Math.min(SPIN_ROUNDS_MAX, 2 * this.#spinRounds);
        return;
      }
    }
    this.#spinRounds = Math.max(SPIN_ROUNDS_MIN, this.#spinRounds >> 1);
    this.#sleeps++;
    Atomics.add(words, sleepers, 1);
    while (Atomics.load(words, word) === value) Atomics.wait(words, word, value);
    Atomics.sub(words, sleepers, 1);
  }
}
