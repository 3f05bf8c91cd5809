import assert from "node:assert/strict";
import { ActorSystem } from "../../../scheduler/actor.ts";

interface Messages {
  results: number;
  arrivals: number;
}

function systemOf(
  log: string[],
  onArrival: (system: ActorSystem<Messages>, message: number) => void = () => {},
) {
  const system = new ActorSystem<Messages>(["results", "arrivals"]);
  system.start({
    results: { receive: (message) => log.push(`result ${message}`) },
    arrivals: {
      receive(message) {
        log.push(`arrival ${message}`);
        onArrival(system, message);
      },
    },
  });
  return system;
}

Deno.test("ActorSystem.deliver hands over one message of the named actor", () => {
  const log: string[] = [];
  const system = systemOf(log);
  system.send("arrivals", 1);
  system.send("results", 2);
  assert.equal(system.deliver("arrivals"), true);
  assert.equal(system.deliver("arrivals"), false);
  assert.deepEqual(log, ["arrival 1"]);
  assert.equal(system.waiting("results"), 1);
});

Deno.test("ActorSystem.run serves results before arrivals and settles before each arrival", async () => {
  const log: string[] = [];
  const system = systemOf(log, (system, message) => {
    if (message < 10) system.send("results", message + 100);
    else system.stop();
  });
  for (const arrival of [1, 2, 10]) system.send("arrivals", arrival);
  system.send("results", 0);
  await system.run(() => log.push("settled"));
  assert.deepEqual(log, [
    "result 0",
    "settled",
    "arrival 1",
    "result 101",
    "settled",
    "arrival 2",
    "result 102",
    "settled",
    "arrival 10",
  ]);
});

Deno.test("ActorSystem.run wakes for a message that comes while it sleeps", async () => {
  const log: string[] = [];
  const system = systemOf(log, (system) => system.stop());
  const running = system.run(() => log.push("settled"));
  await Promise.resolve();
  system.send("arrivals", 1);
  await running;
  assert.deepEqual(log, ["settled", "settled", "arrival 1"]);
});

Deno.test("ActorSystem.run rejects when an actor breaks an assertion", async () => {
  const system = systemOf([], () => {
    throw new Error("broken");
  });
  system.send("arrivals", 1);
  await assert.rejects(system.run(() => {}), /broken/);
});
