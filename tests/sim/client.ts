/** A simulated client: sends its request, reads events at its own pace, perhaps stops reading or goes away. */
import assert from "node:assert/strict";
import type { Clock } from "../../lib/core/clock.ts";
import { sleep } from "../../lib/core/clock.ts";
import { RequestError } from "../../lib/core/errors.ts";
import type { GenerateEvent, Scheduler } from "../../scheduler/messages.ts";
import type { ClientScript } from "./traffic.ts";

/** `refused`: at the door. `left`: it returned its iterator and saw no terminal event. */
export type ClientEnding = "finished" | "cancelled" | "failed" | "refused" | "left";

export interface ClientRecord {
  ending: ClientEnding | null;
  readonly ids: number[];
  text: string;
  reason: "stop" | "length" | null;
  error: RequestError | null;
  finished: Extract<GenerateEvent, { type: "finished" }> | null;
  promptTokens: number;
}

export class Client {
  readonly record: ClientRecord = {
    ending: null,
    ids: [],
    text: "",
    reason: null,
    error: null,
    finished: null,
    promptTokens: 0,
  };
  /** It has gone away, whether the server knows it yet or not. */
  gone = false;
  /** It has stopped reading, and is there. */
  stopped = false;
  /** Listeners on its signal that nobody has removed. */
  listeners = 0;
  readonly #abort = new AbortController();
  readonly #unstuck = Promise.withResolvers<void>();
  #events: AsyncIterableIterator<GenerateEvent> | null = null;

  constructor(readonly script: ClientScript, private readonly clock: Clock) {
    const { signal } = this.#abort;
    const { addEventListener, removeEventListener } = signal;
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      this.listeners++;
      addEventListener.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      this.listeners--;
      removeEventListener.apply(signal, args);
    };
  }

  /** Plays the script. Checks on the way that events come in order and end with exactly one terminal event. */
  async play(scheduler: Scheduler): Promise<void> {
    const { record, script } = this;
    try {
      this.#events = scheduler.submit(script.request, this.#abort.signal);
    } catch (error) {
      assert(error instanceof RequestError, String(error));
      record.ending = "refused";
      record.error = error;
      return;
    }
    let read = 0;
    for await (const event of this.#events) {
      assert.equal(record.ending, null, "nothing follows the terminal event");
      take(record, event);
      if (++read === script.stops?.afterEvents) await this.#stop();
      if (script.readMs > 0) await sleep(this.clock, script.readMs);
    }
    if (record.ending === null && this.gone) record.ending = "left";
    assert.notEqual(record.ending, null, "a stream ends with a terminal event");
  }

  leave(how: "abort" | "return"): void {
    if (this.gone) return;
    this.gone = true;
    if (how === "abort") this.#abort.abort();
    else void this.#events?.return?.();
    this.#unstuck.resolve();
  }

  /** Does not read, and after a while the connection is gone. */
  async #stop(): Promise<void> {
    if (this.record.ending !== null) return;
    this.stopped = true;
    const { goneMs } = this.script.stops!;
    const cancel = this.clock.after(goneMs, () => this.leave("return"));
    await this.#unstuck.promise;
    cancel();
  }
}

function take(record: ClientRecord, event: GenerateEvent): void {
  switch (event.type) {
    case "admitted":
      assert.equal(record.promptTokens, 0, "a request is admitted once");
      assert.equal(record.ids.length, 0, "a request is admitted before its first token");
      record.promptTokens = event.promptTokenIds.length;
      return;
    case "token":
      assert(record.promptTokens > 0, "tokens follow admission");
      record.ids.push(event.id);
      record.text += event.text;
      return;
    case "finished":
      record.text += event.text;
      record.reason = event.reason;
      record.finished = event;
      break;
    case "failed":
      record.error = event.error;
      break;
    case "cancelled":
      break;
  }
  record.ending = event.type;
}
