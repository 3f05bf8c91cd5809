import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { Mailbox } from "../../../scheduler/mailbox.ts";

Deno.test("Mailbox gives messages back in the order in which they were put, however puts and takes mix", () => {
  const mailbox = new Mailbox<number>("test", 100);
  const taken: (number | undefined)[] = [];
  mailbox.put(1);
  mailbox.put(2);
  taken.push(mailbox.take());
  mailbox.put(3);
  taken.push(mailbox.take(), mailbox.take(), mailbox.take());
  assert.deepEqual(taken, [1, 2, 3, undefined]);
  assert.equal(mailbox.size, 0);
});

Deno.test("Mailbox.put asserts that the mailbox has room", () => {
  const mailbox = new Mailbox<number>("test", 2);
  mailbox.put(1);
  mailbox.put(2);
  assert.throws(() => mailbox.put(3), AssertionError);
  mailbox.take();
  mailbox.put(3);
});
