/** How tests of the scripted service wait, and what must hold when they end. */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { ScriptedService } from "./scripted_service.ts";

/** Resolves once `ready` holds, looking again whenever all other work has had its turn. */
export async function until(ready: () => boolean): Promise<void> {
  for (let turn = 0; !ready(); turn++) {
    assert(turn < 10_000, "what was waited for happens");
    await setImmediate();
  }
}

/** Closes a service on which nothing runs any more: everything has been given back, and the engine was called rightly. */
export async function closeIdle({ scheduler, engine }: ScriptedService): Promise<void> {
  assert.equal(scheduler.snapshot().sequences, 0);
  assert.equal(scheduler.snapshot().pagesUsed, 0);
  scheduler.checkIntegrity();
  await scheduler.close();
  assert.deepEqual(engine.violations, []);
}
