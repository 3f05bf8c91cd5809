/** The scheduler over one run of pages a sequence: the layout that the pool is compared with keeps every promise too. */
import assert from "node:assert/strict";
import { ContiguousPool } from "../../pool/mod.ts";
import type { Scenario } from "./scenario.ts";
import { type History, simulate } from "./world.ts";

const SEEDS = Array.from({ length: 60 }, (_, index) => 1001 + index);
const DELIVERIES = 400;

function contiguous(drawn: Scenario): Scenario {
  // What a client must be answered depends on the longest run.
  const { runPages } = new ContiguousPool(drawn.facts).shape;
  return { ...drawn, contiguous: true, prefixCache: false, facts: Object.assign({ runPages }, drawn.facts) };
}

const seen = new Map<number, Promise<Pick<History, "deliveries" | "scheduler">>>();

function world(seed: number): Promise<Pick<History, "deliveries" | "scheduler">> {
  const known = seen.get(seed) ?? simulate(seed, { deliveries: DELIVERIES, change: contiguous });
  seen.set(seed, known);
  return known;
}

for (const seed of SEEDS) {
  Deno.test(`StagedScheduler keeps every promise over contiguous runs in the world of seed ${seed}`, async () => {
    assert((await world(seed)).deliveries >= DELIVERIES);
  });
}

Deno.test("over contiguous runs caches are compressed, their raw ones outlive them, and nobody is preempted", async () => {
  let compressed = 0, zombieByteSeconds = 0;
  for (const seed of SEEDS) {
    const { scheduler } = await world(seed);
    compressed += scheduler.metrics.compressed;
    zombieByteSeconds += scheduler.snapshot().pool.zombieByteSeconds;
    assert.equal(scheduler.metrics.preempted, 0);
    assert.equal(scheduler.metrics.shrunk, 0);
    assert.equal(scheduler.metrics.paid, 0);
  }
  assert(compressed > 0 && zombieByteSeconds > 0, `${compressed} caches were compressed`);
});
