/** Actors and the delivery of their messages. */
import { assert } from "../lib/core/assert.ts";
import { MAILBOX_MESSAGES_MAX } from "../lib/core/limits.ts";
import { Mailbox } from "./mailbox.ts";

/** A stage. `receive` runs to completion: it never waits, so what it has asserted stays true until it returns. */
export interface Actor<Message> {
  receive(message: Message): void;
}

/** Sends to an actor by name. Messages to one actor arrive in the order in which they were sent. */
export type Send<Messages> = <Name extends keyof Messages>(to: Name, message: Messages[Name]) => void;

type Actors<Messages> = { readonly [Name in keyof Messages]: Actor<Messages[Name]> };
type Mailboxes<Messages> = { readonly [Name in keyof Messages]: Mailbox<Messages[Name]> };

/**
 * Holds the mailboxes and delivers what is in them, one message at a time. A server lets {@link run} do it; a
 * simulation chooses the next mailbox itself.
 */
export class ActorSystem<Messages> {
  readonly names: readonly (keyof Messages & string)[];
  readonly #mailboxes: Mailboxes<Messages>;
  #actors: Actors<Messages> | null = null;
  #wake: (() => void) | null = null;
  #stopped = false;

  /** `names` in the order in which they are served: results before new work keeps the device busy. */
  constructor(names: readonly (keyof Messages & string)[]) {
    this.names = names;
    this.#mailboxes = Object.fromEntries(
      names.map((name) => [name, new Mailbox(name, MAILBOX_MESSAGES_MAX)]),
    ) as unknown as Mailboxes<Messages>;
  }

  /** Actors send to each other, so they come after the system. */
  start(actors: Actors<Messages>): void {
    assert(this.#actors === null, "actors start once");
    this.#actors = actors;
  }

  readonly send: Send<Messages> = (to, message) => {
    this.#mailboxes[to].put(message);
    this.wake();
  };

  /** Messages that wait for `name`. */
  waiting(name: keyof Messages): number {
    return this.#mailboxes[name].size;
  }

  /** Hands the oldest message of `name` over; false when there is none. */
  deliver(name: keyof Messages): boolean {
    assert(this.#actors !== null, "actors have started");
    const message = this.#mailboxes[name].take();
    if (message === undefined) return false;
    this.#actors[name].receive(message);
    return true;
  }

  /** Makes {@link run} look again. */
  wake(): void {
    this.#wake?.();
    this.#wake = null;
  }

  /**
   * Delivers until {@link stop}. Calls `settled` whenever only the last-named actor (new work) has mail, and before
   * each of its messages, so that a burst of arrivals does not keep the device waiting.
   */
  async run(settled: () => void): Promise<void> {
    const last = this.names.length - 1;
    while (!this.#stopped) {
      const name = this.names.find((name) => this.waiting(name) > 0);
      if (name === undefined || name === this.names[last]) settled();
      if (name !== undefined) this.deliver(name);
      else if (!this.#anyWaiting()) await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.wake();
  }

  #anyWaiting(): boolean {
    return this.names.some((name) => this.waiting(name) > 0);
  }
}
