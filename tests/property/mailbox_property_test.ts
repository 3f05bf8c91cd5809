import assert from "node:assert/strict";
import fc from "fast-check";
import { AssertionError } from "../../lib/core/assert.ts";
import { Mailbox } from "../../scheduler/mailbox.ts";

interface Model {
  readonly messagesMax: number;
  /** What waits, oldest first. */
  readonly queue: number[];
  /** Number of the next message: no two are equal, so an order that is wrong shows. */
  next: number;
}

type Command = fc.Command<Model, Mailbox<number>>;

function command(name: string, act: (model: Model, mailbox: Mailbox<number>) => void): Command {
  return {
    check: () => true,
    run(model, mailbox) {
      act(model, mailbox);
      assert.equal(mailbox.size, model.queue.length);
    },
    toString: () => name,
  };
}

const put = command("put", (model, mailbox) => {
  const message = model.next++;
  if (model.queue.length === model.messagesMax) {
    assert.throws(() => mailbox.put(message), AssertionError);
    return;
  }
  mailbox.put(message);
  model.queue.push(message);
});

const take = command("take", (model, mailbox) => assert.equal(mailbox.take(), model.queue.shift()));

Deno.test("Mailbox agrees with an array after every put and take, full and empty ones included", () => {
  const commands = fc.commands([fc.constant(put), fc.constant(put), fc.constant(take), fc.constant(take)], {
    maxCommands: 200,
    size: "max",
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), commands, (messagesMax, steps) => {
      const mailbox = new Mailbox<number>("test", messagesMax);
      const model: Model = { messagesMax, queue: [], next: 0 };
      fc.modelRun(() => ({ model, real: mailbox }), steps);
      while (model.queue.length > 0) assert.equal(mailbox.take(), model.queue.shift());
      assert.equal(mailbox.take(), undefined);
    }),
    { numRuns: 300 },
  );
});
