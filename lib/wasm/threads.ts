/**
 * The threads of a step. The engine's own thread is thread 0; helpers spin for a while after each step, then sleep until
 * the next. Each operation of a step has parts: a thread takes those that are its own, one at a time, and then what
 * others have not begun. Nobody waits for a thread, only for parts: one that its system does not let run is waited for
 * only where it stopped inside a part, and passes what was done without it when it runs again. The same part gives the
 * same bits whoever takes it.
 */
import { assert } from "../core/assert.ts";
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
  /** Operations done since the start, whichever steps they belonged to. */
  done: 0,
  sleepers: 16,
  /** The step that runs or ran last. */
  epoch: 32,
  idle: 48,
  /** Two descriptors of steps, of odd and even epochs: STEP_WORDS words each. */
  steps: 64,
  /** Set by a thread that failed. */
  failed: 80,
  /** Helpers that have begun to wait for their first step. */
  ready: 96,
  /** By thread: the epoch whose tape a helper may be reading, or NONE. */
  reading: 112,
} as const;

/** Word index and length of the tape (length 0 ends the helpers), word index of its counters, `done` before it. */
const STEP_WORDS = 4;

const NONE = -1;
/** Epochs wrap, and with them the parity that chooses a descriptor. */
const EPOCH_MASK = 0x3fff_ffff;

/** More threads than this would need more words in the control block. */
export const THREADS_MAX = 128;

/** Words of a cache line. */
const LINE = 16;

interface StepOfThreads {
  readonly epoch: number;
  readonly tape: number;
  readonly length: number;
}

export class Control {
  readonly #words: Int32Array;
  #spinRounds = SPIN_ROUNDS_MAX;
  #counters = 0;
  #doneBefore = 0;

  constructor(memory: WebAssembly.Memory, readonly thread: number, readonly threads: number) {
    assert(threads <= THREADS_MAX, "each thread has a word in the control block");
    this.#words = new Int32Array(memory.buffer);
  }

  /** Words of counters that a step of so many operations needs: a line for each thread's parts and one for those done. */
  counterWords(operations: number): number {
    return operations * (this.threads + 1) * LINE;
  }

  /** Runs parts of an operation until none is left to take, and returns when all are done. */
  share(operation: number, parts: number, run: (part: number) => void): void {
    const words = this.#words, { threads } = this;
    const target = (this.#doneBefore + operation + 1) | 0;
    if (this.#reached(target)) return;
    const counters = this.#counters + operation * (threads + 1) * LINE;
    let ran = 0;
    for (let turn = 0; turn < threads; turn++) {
      const owner = (this.thread + turn) % threads, taken = counters + owner * LINE;
      const first = Math.floor(parts * owner / threads),
        own = Math.floor(parts * (owner + 1) / threads) - first;
      while (Atomics.load(words, taken) < own) {
        const part = Atomics.add(words, taken, 1);
        if (part >= own) break;
        run(first + part);
        ran++;
      }
    }
    const finished = counters + threads * LINE;
    if (ran > 0 && Atomics.add(words, finished, ran) + ran === parts) {
      Atomics.store(words, CONTROL / 4 + Word.done, target);
      if (Atomics.load(words, CONTROL / 4 + Word.sleepers) > 0) {
        Atomics.notify(words, CONTROL / 4 + Word.done);
      }
      return;
    }
    this.#waitUntil(() => this.#reached(target), Word.done, Word.sleepers);
  }

  /** Helper: says that it waits for steps from now on. */
  report(): void {
    Atomics.add(this.#words, CONTROL / 4 + Word.ready, 1);
  }

  /** Whether all helpers wait for steps. */
  get ready(): boolean {
    return Atomics.load(this.#words, CONTROL / 4 + Word.ready) === this.threads - 1;
  }

  /** Thread 0: lets the helpers run a tape; `counters` are zero. Returns the step's epoch. */
  begin(tape: number, length: number, counters: number): number {
    const words = this.#words, at = CONTROL / 4;
    const epoch = words[at + Word.epoch] + 1 & EPOCH_MASK, step = this.#step(epoch);
    this.#counters = counters;
    this.#doneBefore = Atomics.load(words, at + Word.done);
    words[step] = tape;
    words[step + 1] = length;
    words[step + 2] = counters;
    words[step + 3] = this.#doneBefore;
    Atomics.store(words, at + Word.epoch, epoch);
    if (Atomics.load(words, at + Word.idle) > 0) Atomics.notify(words, at + Word.epoch);
    return epoch;
  }

  /** Helper: waits for the next tape. Null when there will be none. */
  next(seen: number): StepOfThreads | null {
    const words = this.#words, at = CONTROL / 4;
    this.#waitUntil(() => Atomics.load(words, at + Word.epoch) !== seen, Word.epoch, Word.idle);
    for (;;) {
      const epoch = Atomics.load(words, at + Word.epoch), step = this.#step(epoch);
      const [tape, length, counters, done] = words.subarray(step, step + STEP_WORDS);
      Atomics.store(words, at + Word.reading + this.thread, epoch);
      // Its descriptor is overwritten, and its tape given back, only after the next epoch has begun.
      if (Atomics.load(words, at + Word.epoch) !== epoch) continue;
      this.#counters = counters;
      this.#doneBefore = done;
      return length === 0 ? null : { epoch, tape: tape >>> 0, length };
    }
  }

  /** Helper: has read the last word of the tape. */
  leave(): void {
    Atomics.store(this.#words, CONTROL / 4 + Word.reading + this.thread, NONE);
  }

  /** Thread 0: whether a helper may still be reading the tape of an epoch that is over. */
  isRead(epoch: number): boolean {
    for (let thread = 1; thread < this.threads; thread++) {
      if (Atomics.load(this.#words, CONTROL / 4 + Word.reading + thread) === epoch) return true;
    }
    return false;
  }

  /** Says that a part failed; the step is lost but nobody waits for it. */
  fail(): void {
    Atomics.store(this.#words, CONTROL / 4 + Word.failed, 1);
  }

  /** Whether any part failed since the last call. */
  takeFailure(): boolean {
    return Atomics.exchange(this.#words, CONTROL / 4 + Word.failed, 0) === 1;
  }

  #step(epoch: number): number {
    return CONTROL / 4 + Word.steps + (epoch & 1) * STEP_WORDS;
  }

  /** Whether `done` is there, or beyond; it wraps. */
  #reached(target: number): boolean {
    return (Atomics.load(this.#words, CONTROL / 4 + Word.done) - target | 0) >= 0;
  }

  /** `word` changes, and is notified of, whenever `holds` may have become true. */
  #waitUntil(holds: () => boolean, word: number, sleepers: number): void {
    const words = this.#words, at = CONTROL / 4;
    for (let round = 0; round < this.#spinRounds; round++) {
      if (holds()) {
        this.#spinRounds = Math.min(SPIN_ROUNDS_MAX, 2 * this.#spinRounds);
        return;
      }
    }
    this.#spinRounds = Math.max(SPIN_ROUNDS_MIN, this.#spinRounds >> 1);
    Atomics.add(words, at + sleepers, 1);
    for (;;) {
      const value = Atomics.load(words, at + word);
      if (holds()) break;
      Atomics.wait(words, at + word, value);
    }
    Atomics.sub(words, at + sleepers, 1);
  }
}
