import assert from "node:assert/strict";
import { BROKEN_SCHEDULERS } from "./broken.ts";
import { SimulationFailure } from "./failure.ts";
import { simulate } from "./world.ts";

const SEEDS_MAX = 10;

for (const { mistake, breakage, symptom } of BROKEN_SCHEDULERS) {
  Deno.test(`simulate catches a scheduler with ${mistake} within ${SEEDS_MAX} seeds, and says how to replay it`, async () => {
    let failure: SimulationFailure | null = null;
    for (let seed = 1; seed <= SEEDS_MAX && failure === null; seed++) {
      try {
        await simulate(seed, { deliveries: 1_000, breakage });
      } catch (error) {
        assert(error instanceof SimulationFailure, String(error));
        failure = error;
      }
    }
    assert(failure !== null, "one of the seeds fails");
    assert.match(failure.message, symptom);
    const told =
      failure.message.match(/^ *\d+\.\d\d ms {2}(intake|encode|prefill|compress|decode|emit) /gm) ??
        [];
    assert(told.length > 0 && told.length <= 50, `${told.length} deliveries are told of`);
    assert.match(
      failure.message,
      new RegExp(`Replay with: deno task sim --seed ${failure.seed} --deliveries 1000`),
    );
  });
}
