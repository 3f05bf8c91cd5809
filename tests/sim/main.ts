/** `deno task sim`: the scheduler in simulated worlds, as many and as long as asked for. */
import { UsageError } from "../../lib/core/errors.ts";
import { flagHelp, type FlagValues, one, parseFlags } from "../../lib/cli/parse.ts";
import { readWhole } from "../../lib/cli/values.ts";
import { FaultCounts } from "./faults.ts";
import { SimulationFailure } from "./failure.ts";
import { simulate } from "./world.ts";

/** Deliveries of a world whose length nobody chose. */
const WORLD_DELIVERIES = 5_000;
/** Worlds when nothing was asked for. */
const SEEDS = 20;
const PROGRESS_SEEDS = 20;

const count = (help: string, shown: string) =>
  one<number | null>({ metavar: "N", help, fallback: null, shown }, readWhole(1, 1e9));

const FLAGS = {
  seed: count("the only seed, or the first of several", "1"),
  seeds: count(
    "how many seeds, one after the other",
    `1 with --seed, else one for ${WORLD_DELIVERIES} deliveries`,
  ),
  deliveries: count("messages delivered at least, over all seeds", `${WORLD_DELIVERIES} a seed`),
};

interface Work {
  readonly firstSeed: number;
  readonly seeds: number;
  /** Of one seed. */
  readonly deliveries: number;
}

function readWork({ seed, seeds: asked, deliveries }: FlagValues<typeof FLAGS>): Work {
  const many = Math.ceil((deliveries ?? SEEDS * WORLD_DELIVERIES) / WORLD_DELIVERIES);
  const seeds = asked ?? (seed === null ? many : 1);
  return {
    firstSeed: seed ?? 1,
    seeds,
    deliveries: deliveries === null ? WORLD_DELIVERIES : Math.ceil(deliveries / seeds),
  };
}

async function run({ firstSeed, seeds, deliveries }: Work): Promise<boolean> {
  const counts = new FaultCounts();
  let delivered = 0, violations = 0, overtaken = 0, fewest = Infinity;
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  for (let index = 0; index < seeds; index++) {
    try {
      const history = await simulate(firstSeed + index, { deliveries });
      delivered += history.deliveries;
      counts.add(history.counts);
      overtaken = Math.max(overtaken, history.overtakenMost);
      fewest = Math.min(fewest, history.deliveries);
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      violations++;
      console.error(error.message);
    }
    if ((index + 1) % PROGRESS_SEEDS === 0) {
      console.error(`${index + 1} of ${seeds} seeds, ${delivered} deliveries, ${seconds().toFixed(0)} s`);
    }
  }
  for (const [fault, times] of counts.entries()) console.log(`${String(times).padStart(9)}  ${fault}`);
  console.log(`overtaken by ${overtaken} later requests at most`);
  console.log(
    `${seeds} seeds, ${delivered} deliveries (${fewest} of a seed at least), ${violations} violations, ` +
      `${seconds().toFixed(1)} s`,
  );
  return violations === 0;
}

try {
  const { values, asked } = parseFlags(FLAGS, Deno.args, () => undefined);
  if (asked !== null) console.log(flagHelp(FLAGS));
  else if (!await run(readWork(values))) Deno.exit(1);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  Deno.exit(2);
}
