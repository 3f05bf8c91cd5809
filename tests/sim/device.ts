/** The device of a world: the scripted engine in virtual time, with its costs and its faults. */
import { sleep } from "../../lib/core/clock.ts";
import type { Clock } from "../../lib/core/clock.ts";
import type { Random } from "../../lib/core/random.ts";
import type { Engine } from "../../lib/engine/engine.ts";
import { type ScriptedCall, ScriptedEngine } from "../support/scripted_engine.ts";
import { ScriptedImages } from "../support/scripted_text.ts";
import { callMs, SLOT_TOKENS } from "./costs.ts";
import { chance, within } from "./draw.ts";
import type { FaultCounts } from "./faults.ts";
import type { Journal } from "./journal.ts";
import type { Scenario } from "./scenario.ts";

export class Device {
  readonly scripted: ScriptedEngine;
  readonly images: ScriptedImages;
  /** Every call fails from now on. */
  lost = false;
  /** No call fails by chance any more. */
  calm = false;
  /** Failed calls as the scheduler reports them. */
  reported = 0;

  constructor(
    private readonly scenario: Scenario,
    private readonly random: Random,
    private readonly clock: Clock,
    private readonly counts: FaultCounts,
    private readonly journal: Journal,
  ) {
    const { costs, faults, facts } = scenario;
    this.scripted = new ScriptedEngine(facts, {
      delay: (call, items, tokens, slots) => {
        journal.noted(clock.now(), "device", `${call} of ${items} with ${tokens} tokens`);
        return sleep(clock, callMs(random, costs[call], items, tokens + SLOT_TOKENS * slots));
      },
      fails: (call) => this.#fails(call),
      notFinite: () => !this.calm && chance(random, faults.notFiniteRows),
    });
    this.images = new ScriptedImages(() => sleep(clock, within(random, 0, costs.prepareMs)));
  }

  /** Whether any request may have failed because of the device. */
  get faulty(): boolean {
    return this.scripted.failures + this.scripted.notFiniteRows > 0;
  }

  #fails(call: ScriptedCall): boolean {
    if (this.lost) return true;
    if (this.calm || !chance(this.random, this.scenario.faults.failedCalls)) return false;
    this.counts.met(`failed ${call} call`);
    this.journal.noted(this.clock.now(), "device", `${call} fails`);
    return true;
  }
}

/** What a simulation may put between the scheduler and the device. */
export type EngineWrapper = (engine: Engine) => Engine;
