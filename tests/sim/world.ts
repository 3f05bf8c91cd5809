/**
 * A world in virtual time around the real scheduler: a seed draws the scenario, chooses which mailbox delivers next and
 * when the device is looked after, and decides every fault. One seed is one history.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { sleep } from "../../lib/core/clock.ts";
import { type Random, seededRandom } from "../../lib/core/random.ts";
import { StagedScheduler } from "../../scheduler/mod.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { ScriptedEngine } from "../support/scripted_engine.ts";
import { EOS_ID, IMAGE_ID, ScriptedImages, ScriptedText } from "../support/scripted_text.ts";
import { type ClientRecord, playClient } from "./client.ts";
import { between, chance, drawScenario, IMAGE_TOKENS, MAX_MODEL_LEN, type Scenario } from "./scenario.ts";

const TURNS_MAX = 20_000;

export interface History {
  readonly scenario: Scenario;
  readonly records: readonly ClientRecord[];
  /** Hash of every delivery and its time: equal for equal seeds. */
  readonly trace: number;
  readonly scheduler: StagedScheduler;
}

/** `change` lets a test fix parts of what the seed draws. */
export async function simulate(
  seed: number,
  change: (drawn: Scenario) => Scenario = (s) => s,
): Promise<History> {
  const random = seededRandom(seed);
  const scenario = change(drawScenario(random));
  // Faults and delays are drawn apart from deliveries, so that one more delivery does not change every fault.
  const faults = seededRandom(seed ^ 0x5eed);
  const clock = new ManualClock();
  const delay = () => sleep(clock, scenario.stepMs === 0 ? 0 : between(faults, 0, 2 * scenario.stepMs));
  const engine = new ScriptedEngine(scenario.facts, {
    delay,
    fails: () => chance(faults, scenario.failRate),
    notFinite: () => chance(faults, scenario.notFiniteRate),
  });
  const images = new ScriptedImages(delay);
  let stepFailures = 0;
  const scheduler = new StagedScheduler({
    engine,
    text: new ScriptedText(),
    images,
    model: {
      maxModelLen: MAX_MODEL_LEN,
      eosTokenIds: [EOS_ID],
      imageTokenId: IMAGE_ID,
      imageTokens: IMAGE_TOKENS,
    },
    defaults: { maxTokens: null, compression: null },
    windows: scenario.windows,
    limits: scenario.limits,
    clock,
    onStepFailure: () => stepFailures++,
  });
  const clients = Promise.all(scenario.clients.map((client) => playClient(scheduler, clock, client)));
  let records: readonly ClientRecord[] | null = null;
  let failure: unknown = null;
  clients.then((done) => records = done, (error) => failure = error ?? new Error("a client failed"));
  if (scenario.drainAtMs !== null) clock.after(scenario.drainAtMs, () => void scheduler.drain(50));

  let trace = 0;
  for (let turn = 0; records === null; turn++) {
    assert(turn < TURNS_MAX, `the world comes to rest: ${JSON.stringify(scheduler.snapshot())}`);
    await setImmediate();
    if (failure !== null) throw failure;
    const name = turnOf(random, scheduler, clock);
    scheduler.checkIntegrity();
    assert(images.preparing <= scenario.limits.decodedImagesMax!, "few pictures are decoded at a time");
    trace = Math.imul(trace ^ name ^ Math.floor(clock.now()), 0x01000193) >>> 0;
  }
  // What is still under way (a picture that nobody waits for any more) ends too.
  do await setImmediate(); while (deliverAny(scheduler) || clock.fireNext());
  assert.deepEqual(engine.violations, []);
  assert.equal(stepFailures, engine.failures, "every failed step is reported");
  assert.equal(scheduler.snapshot().sequences, 0, "every sequence has ended");
  scheduler.checkIntegrity();
  return { scenario, records, trace, scheduler };
}

/** One delivery, or one look at the device, or time moves on. Returns what was done as a number. */
function turnOf(random: Random, scheduler: StagedScheduler, clock: ManualClock): number {
  const { actors } = scheduler;
  const waiting = actors.names.filter((name) => actors.waiting(name) > 0);
  if (waiting.length > 0 && !chance(random, 0.1)) {
    const name = waiting[random.nextUint32() % waiting.length];
    actors.deliver(name);
    return 1 + actors.names.indexOf(name);
  }
  scheduler.dispatch();
  if (waiting.length === 0) clock.fireNext();
  return 100;
}

function deliverAny(scheduler: StagedScheduler): boolean {
  const { actors } = scheduler;
  return actors.names.some((name) => actors.deliver(name));
}
