import assert from "node:assert/strict";
import { FaultCounts } from "./faults.ts";
import { type History, simulate } from "./world.ts";

const SEEDS = Array.from({ length: 200 }, (_, index) => index + 1);
const DELIVERIES = 500;

/** What a test needs of a world that was seen before. */
type Seen = Pick<History, "counts" | "deliveries">;
const seen = new Map<number, Promise<Seen>>();

async function see(seed: number): Promise<Seen> {
  const { counts, deliveries } = await simulate(seed, { deliveries: DELIVERIES });
  return { counts, deliveries };
}

function world(seed: number): Promise<Seen> {
  const known = seen.get(seed) ?? see(seed);
  seen.set(seed, known);
  return known;
}

for (const seed of SEEDS) {
  Deno.test(`StagedScheduler keeps every promise in the world of seed ${seed}`, async () => {
    assert((await world(seed)).deliveries >= DELIVERIES);
  });
}

Deno.test("the worlds of all seeds together meet every fault", async () => {
  const counts = new FaultCounts();
  for (const seed of SEEDS) counts.add((await world(seed)).counts);
  assert.deepEqual(counts.missing(), []);
});

Deno.test("simulate replays one seed as the same history", async () => {
  const [first, second] = [await simulate(7, { deliveries: 800 }), await simulate(7, { deliveries: 800 })];
  assert.equal(first.trace, second.trace);
  assert.deepEqual(first.records, second.records);
});
