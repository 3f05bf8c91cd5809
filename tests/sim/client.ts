/** A simulated client: sends its request, reads events at its own pace, perhaps goes away. */
import assert from "node:assert/strict";
import type { Clock } from "../../lib/core/clock.ts";
import { sleep } from "../../lib/core/clock.ts";
import { RequestError } from "../../lib/core/errors.ts";
import type { GenerateEvent, Scheduler } from "../../scheduler/messages.ts";
import type { ClientScript } from "./scenario.ts";

export type Ending = "finished" | "cancelled" | "failed" | "refused" | "left";

export interface ClientRecord {
  ending: Ending | null;
  readonly ids: number[];
  text: string;
  reason: "stop" | "length" | null;
  error: RequestError | null;
  finished: Extract<GenerateEvent, { type: "finished" }> | null;
  promptTokens: number;
}

/** Plays a script. Checks on the way that events come in order and end with exactly one terminal event. */
export async function playClient(
  scheduler: Scheduler,
  clock: Clock,
  script: ClientScript,
): Promise<ClientRecord> {
  const record: ClientRecord = {
    ending: null,
    ids: [],
    text: "",
    reason: null,
    error: null,
    finished: null,
    promptTokens: 0,
  };
  await sleep(clock, script.arrivalMs);
  const abort = new AbortController();
  let events: AsyncIterableIterator<GenerateEvent>;
  try {
    events = scheduler.submit(script.request, abort.signal);
  } catch (error) {
    assert(error instanceof RequestError);
    return { ...record, ending: "refused", error };
  }
  let left = false;
  const stopLeaving = script.leaves === null ? () => {} : clock.after(script.leaves.afterMs, () => {
    if (script.leaves!.how === "abort") abort.abort();
    else {
      left = true;
      void events.return!();
    }
  });
  for await (const event of events) {
    assert.equal(record.ending, null, "nothing follows the terminal event");
    take(record, event);
    if (script.readMs > 0) await sleep(clock, script.readMs);
  }
  stopLeaving();
  if (record.ending === null && left) record.ending = "left";
  assert.notEqual(record.ending, null, "a stream ends with a terminal event");
  return record;
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
