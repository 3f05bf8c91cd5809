import assert from "node:assert/strict";
import { AssertionError } from "../../../lib/core/assert.ts";
import { EventChannel } from "../../../scheduler/channel.ts";
import type { GenerateEvent } from "../../../scheduler/messages.ts";

const token = (id: number): GenerateEvent => ({ type: "token", id, text: "", logprob: null });

function channelOf(eventsMax: number) {
  const seen: string[] = [];
  const channel = new EventChannel(eventsMax, {
    filled: () => {},
    drained: () => seen.push("drained"),
    returned: () => seen.push("returned"),
  });
  return { channel, seen };
}

Deno.test("EventChannel gives events in order and ends after the terminal one", async () => {
  const { channel } = channelOf(4);
  const pending = channel.next();
  channel.push(token(1));
  channel.push(token(2));
  channel.push({ type: "cancelled" });
  assert.deepEqual(await pending, { done: false, value: token(1) });
  assert.deepEqual(await channel.next(), { done: false, value: token(2) });
  assert.deepEqual(await channel.next(), { done: false, value: { type: "cancelled" } });
  assert.equal((await channel.next()).done, true);
});

Deno.test("EventChannel is full at its bound, takes no token then, but the terminal event", async () => {
  const { channel, seen } = channelOf(2);
  channel.push(token(1));
  assert.equal(channel.full, false);
  channel.push(token(2));
  assert.equal(channel.full, true);
  assert.throws(() => channel.push(token(3)), AssertionError);
  await channel.next();
  assert.deepEqual(seen, ["drained"]);
  channel.push(token(3));
  channel.push({ type: "cancelled" });
  assert.throws(() => channel.push({ type: "cancelled" }), AssertionError);
});

Deno.test("EventChannel.return tells the scheduler once and lets nothing pile up", async () => {
  const { channel, seen } = channelOf(2);
  const pending = channel.next();
  await channel.return();
  await channel.return();
  assert.equal((await pending).done, true);
  assert.deepEqual(seen, ["returned"]);
  for (let id = 0; id < 5; id++) channel.push(token(id));
  assert.equal(channel.full, false);
  assert.equal((await channel.next()).done, true);
});

Deno.test("EventChannel.return after the terminal event cancels nothing", async () => {
  const { channel, seen } = channelOf(2);
  channel.push({ type: "cancelled" });
  await channel.return();
  assert.deepEqual(seen, []);
});
