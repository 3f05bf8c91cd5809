/** Worlds that are hard for a way to choose: whoever waits for whom must come to an end. */
import { parsePolicy } from "../../scheduler/policy.ts";
import { type Scenario, WAITING_TOKENS_UNBOUNDED } from "./scenario.ts";
import { simulate } from "./world.ts";

const POLICIES = ["dynamic", "fcfs", "static:p1c1d8", "static:p2c2d8", "static:p4c4d8"];
const SEEDS = Array.from({ length: 8 }, (_, index) => 1_000 + index);

/** No deadline ends a wait, memory holds few sequences, and some requests overtake others. */
function harder(text: string): (drawn: Scenario) => Scenario {
  return (drawn) => ({
    ...drawn,
    policy: parsePolicy(text)!,
    limits: {
      ...drawn.limits,
      decodedImagesMax: 1,
      queueTimeoutMs: null,
      readerTimeoutMs: null,
      waitingTokensMax: WAITING_TOKENS_UNBOUNDED,
    },
    mixture: { ...drawn.mixture, priorities: 1 },
    sizes: { ...drawn.sizes, pictures: 20 },
    faults: { ...drawn.faults, badPictures: 0, leaves: 0 },
  });
}

for (const policy of POLICIES) {
  Deno.test(`policy ${policy} lets everyone end where few fit and some overtake others`, async () => {
    for (const seed of SEEDS) await simulate(seed, { deliveries: 800, change: harder(policy) });
  });
}
