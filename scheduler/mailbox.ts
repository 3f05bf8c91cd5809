/** A bounded queue, first in, first out. */
import { assert } from "../lib/core/assert.ts";

export class Mailbox<Message> {
  // Two stacks: pushed to the back, taken from the reversed front; constant time a message, and no shifting of arrays.
  #front: Message[] = [];
  #back: Message[] = [];

  constructor(readonly name: string, readonly messagesMax: number) {}

  get size(): number {
    return this.#front.length + this.#back.length;
  }

  /** Every sender is bounded by admission, so a full mailbox is our mistake. */
  put(message: Message): void {
    assert(this.size < this.messagesMax, `the mailbox ${this.name} has room`);
    this.#back.push(message);
  }

  take(): Message | undefined {
    if (this.#front.length === 0) {
      this.#front = this.#back.reverse();
      this.#back = [];
    }
    return this.#front.pop();
  }
}
