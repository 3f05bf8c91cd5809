/**
 * A world in virtual time around the real scheduler: a seed draws the scenario, chooses which mailbox delivers next, when
 * the device is looked after and when time goes on, and decides every fault. One seed is one history.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import { type Random, seededRandom } from "../../lib/core/random.ts";
import type { EngineFacts } from "../../lib/engine/engine.ts";
import { ContiguousPool, KvPool, type Pool } from "../../pool/mod.ts";
import { StagedScheduler } from "../../scheduler/mod.ts";
import { policyText } from "../../scheduler/policy.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { EOS_ID, IMAGE_ID, ScriptedText } from "../support/scripted_text.ts";
import { requestMs, restMsMax } from "./bounds.ts";
import { Checker } from "./checker.ts";
import type { ClientRecord } from "./client.ts";
import { Crowd } from "./crowd.ts";
import { Device, type EngineWrapper } from "./device.ts";
import { chance } from "./draw.ts";
import { SimulationFailure } from "./failure.ts";
import { FaultCounts } from "./faults.ts";
import { describeMessage, describePlan, Journal } from "./journal.ts";
import { type ActorName, ObservedActors } from "./observed_actors.ts";
import {
  drawScenario,
  type Ending,
  IMAGE_TOKENS,
  MAX_MODEL_LEN,
  type Scenario,
  WAITING_TOKENS_UNBOUNDED,
} from "./scenario.ts";
import { type ClientScript, Traffic } from "./traffic.ts";
import type { Circumstances } from "./verdict.ts";

export interface WorldOptions {
  /** Messages delivered before the world ends; what ends it delivers some more. */
  readonly deliveries: number;
  /** Lets a test fix parts of what the seed draws. */
  readonly change?: (drawn: Scenario) => Scenario;
  /** Who comes, all at once and nobody else; drawn when absent. */
  readonly clients?: readonly ClientScript[];
  /** Broken parts for the scheduler. */
  readonly breakage?: Breakage;
}

export interface Breakage {
  readonly pool?: (facts: EngineFacts, options: { readonly prefixCache: boolean }) => Pool;
  readonly actors?: () => ObservedActors;
  readonly engine?: EngineWrapper;
}

export interface History {
  readonly seed: number;
  readonly scenario: Scenario;
  readonly records: readonly ClientRecord[];
  readonly deliveries: number;
  readonly counts: FaultCounts;
  readonly overtakenMost: number;
  /** Hash of every delivery and its time: equal for equal seeds. */
  readonly trace: number;
  readonly scheduler: StagedScheduler;
}

/** Turns without any delivery that a world may take: timers of clients and windows fire, a device stalls. */
const QUIET_TURNS_MAX = 2_000;

/** What a turn did. */
const TIME_WENT_ON = 0;
const DISPATCHED = 1;

export async function simulate(seed: number, options: WorldOptions): Promise<History> {
  const world = new World(seed, options);
  try {
    return await world.run();
  } catch (error) {
    throw new SimulationFailure(seed, options.deliveries, error, world.story());
  }
}

class World {
  readonly #journal = new Journal();
  readonly #random: Random;
  readonly #scenario: Scenario;
  readonly #clock = new ManualClock();
  readonly #counts = new FaultCounts();
  readonly #actors: ObservedActors;
  readonly #device: Device;
  readonly #scheduler: StagedScheduler;
  readonly #pool: Pool;
  readonly #checker: Checker;
  readonly #crowd: Crowd;
  #deliveries = 0;
  #quietTurns = 0;
  #trace = 0;
  #draining = false;
  /** When the scheduler begins to cancel what runs. */
  #cancelAtMs = Infinity;

  constructor(private readonly seed: number, private readonly options: WorldOptions) {
    const { change = (drawn) => drawn, breakage = {} } = options;
    this.#random = seededRandom(seed);
    const scenario = this.#scenario = change(drawScenario(this.#random));
    const { facts, itlTargetMs, limits, policy, windows } = scenario;
    const paged = breakage.pool ?? ((facts, options) => new KvPool(facts, options));
    this.#pool = scenario.contiguous ? new ContiguousPool(facts) : paged(facts, scenario);
    const clock = this.#clock, counts = this.#counts;
    // Faults, delays and clients are drawn apart from deliveries, so that one more delivery does not change them all.
    this.#device = new Device(scenario, seededRandom(seed ^ 0x5eed), clock, counts, this.#journal);
    this.#actors = breakage.actors?.() ?? new ObservedActors();
    this.#scheduler = new StagedScheduler({
      engine: breakage.engine?.(this.#device.scripted) ?? this.#device.scripted,
      text: new ScriptedText(),
      images: this.#device.images,
      model: {
        maxModelLen: MAX_MODEL_LEN,
        eosTokenIds: [EOS_ID],
        imageTokenId: IMAGE_ID,
        imageTokens: IMAGE_TOKENS,
      },
      defaults: { maxTokens: null, compression: null },
      windows,
      limits,
      clock,
      policy,
      itlTargetMs,
      actors: this.#actors,
      pool: this.#pool,
      onPlan: (record) => {
        if (record.step !== "idle" && record.after !== null) {
          counts.met("second step handed over while one runs");
        }
        this.#journal.planned(clock.now(), describePlan(record));
      },
      onStepFailure: () => this.#device.reported++,
    });
    this.#checker = new Checker(
      this.#scheduler,
      this.#device.scripted.pages,
      counts,
      // Ranks are the order of service, but who has pictures waits for the tower, and short answers end early: as many as
      // can be there may pass, and as many again that come meanwhile.
      2 * (limits.waitingRequestsMax + limits.maxNumSeqs),
    );
    const traffic = new Traffic(seededRandom(seed ^ 0xc0de), scenario);
    this.#crowd = new Crowd({
      scheduler: this.#scheduler,
      scenario,
      clock,
      random: seededRandom(seed ^ 0xa221),
      counts,
      next: () => traffic.next(),
      circumstances: () => this.#circumstances(),
      onAnswered: (sequence) => {
        traffic.answered++;
        this.#checker.answered(sequence);
      },
    });
    this.#actors.onDelivery = (to, message) => {
      this.#journal.delivered(clock.now(), to, describeMessage(message));
      if (to !== "intake" || !("sequence" in message)) return;
      this.#checker.watch(message.sequence, this.#crowd.meet(message.sequence));
    };
  }

  /** What happened last and who is there, for a failure's message. */
  story(): string {
    const { policy, prefixCache, limits } = this.#scenario;
    return `What happened last:\n${this.#journal}\nWho is there:\n${this.#checker}\n` +
      `Policy ${policyText(policy)}, ${
        prefixCache ? "with" : "without"
      } prefix cache, ${limits.maxNumSeqs} seats`;
  }

  async run(): Promise<History> {
    const { facts, arrivals, policy, prefixCache } = this.#scenario;
    if (facts.pageCount <= 6 * facts.layers) this.#counts.met("world with a pool of a few pages");
    if (!prefixCache) this.#counts.met("world without a prefix cache");
    this.#counts.met(`world of the policy ${policy.kind}`);
    if (this.options.clients !== undefined) {
      for (const client of this.options.clients) this.#crowd.arrive(client);
    } else this.#crowd.open(arrivals.gapFactor * requestMs(this.#scenario));
    while (this.#deliveries < this.options.deliveries) await this.#turn();
    await this.#end(this.#scenario.ending);
    this.#checkRest();
    return {
      seed: this.seed,
      scenario: this.#scenario,
      records: this.#crowd.clients.map(({ record }) => record),
      deliveries: this.#deliveries,
      counts: this.#counts,
      overtakenMost: this.#checker.overtakenMost,
      trace: this.#trace,
      scheduler: this.#scheduler,
    };
  }

  /** One delivery, or one look at the device, or time goes on; then everything is checked. */
  async #turn(): Promise<void> {
    // All promises that can be settled are: readers have read, steps that have ended have sent their results.
    await setImmediate();
    if (this.#crowd.failure !== null) throw this.#crowd.failure;
    const did = this.#act();
    this.#quietTurns = did > DISPATCHED ? 0 : this.#quietTurns + 1;
    assert(this.#quietTurns < QUIET_TURNS_MAX, "something is delivered once in a while");
    if (did > TIME_WENT_ON) this.#checker.check();
    this.#crowd.look();
    const { images } = this.#device;
    assert(images.preparing <= this.#scenario.limits.decodedImagesMax, "few pictures are decoded at a time");
    this.#trace = Math.imul(this.#trace ^ did ^ Math.floor(this.#clock.now()), 0x01000193) >>> 0;
  }

  /** TIME_WENT_ON, DISPATCHED, or the number of the actor that got a message, from 2 on. */
  #act(): number {
    const actors = this.#actors, random = this.#random;
    const waiting = this.#waiting();
    const settled = waiting.length === 0 || (waiting.length === 1 && waiting[0] === actors.names.at(-1));
    if (actors.woken && chance(random, settled ? 0.7 : 0.1)) {
      this.#dispatch();
      return DISPATCHED;
    }
    if (waiting.length > 0 && !chance(random, 0.1)) {
      return this.#deliver(waiting[random.nextUint32() % waiting.length]);
    } else if (!this.#clock.fireNext() && waiting.length === 0 && !actors.woken) {
      assert(
        this.#crowd.size === 0,
        `all has come to rest, and ${this.#crowd.size} requests are not answered`,
      );
    }
    return TIME_WENT_ON;
  }

  #deliver(name: ActorName): number {
    this.#deliveries++;
    this.#actors.deliver(name);
    return 1 + DISPATCHED + this.#actors.names.indexOf(name);
  }

  #dispatch(): void {
    this.#scheduler.dispatch();
    this.#actors.woken = false;
  }

  /** The busy part is over; faults cease, unless the device is lost. Everything that lives must end, in bounded time. */
  async #end(ending: Ending): Promise<void> {
    const crowd = this.#crowd, scheduler = this.#scheduler;
    this.#journal.noted(this.#clock.now(), "world", `ends: ${ending}`);
    crowd.close();
    this.#device.calm = true;
    let stopped: Promise<void> = Promise.resolve();
    const running = scheduler.snapshot().running > 0;
    if (ending === "device lost") {
      this.#device.lost = true;
      this.#counts.met("device lost");
    }
    if (ending === "drain" || ending === "close") {
      this.#draining = true;
      if (running) this.#counts.met(`${ending} while requests run`);
      const deadlineMs = ending === "drain" ? this.#scenario.drainMs : 0;
      stopped = ending === "drain" ? scheduler.drain(deadlineMs) : scheduler.close();
      this.#cancelAtMs = this.#clock.now() + deadlineMs;
    }
    if (ending !== "calm") { for (let i = 0; i < 3; i++) crowd.arrive(); }
    const untilMs = this.#clock.now() + restMsMax(this.#scenario, crowd.size);
    while (crowd.size > 0) {
      assert(this.#clock.now() < untilMs, `${crowd.size} requests have not ended in time`);
      await this.#turn();
    }
    let done = false;
    void stopped.then(() => done = true);
    await this.#rest();
    assert(done, `${ending} resolves once nothing runs`);
  }

  /** What is still under way (a picture that nobody waits for any more, a step) ends too. */
  async #rest(): Promise<void> {
    for (;;) {
      await setImmediate();
      if (this.#waiting().length === 0 && !this.#actors.woken && this.#clock.timers === 0) return;
      await this.#turn();
    }
  }

  #checkRest(): void {
    const { scripted, reported } = this.#device;
    assert.deepEqual(scripted.violations, []);
    assert.equal(reported, scripted.failures, "every failed call is reported");
    assert.equal(this.#scheduler.snapshot().sequences, 0, "every sequence has ended");
    assert.equal(this.#checker.size, 0, "every sequence has given its pages back");
    for (const { listeners, script } of this.#crowd.clients) {
      assert.equal(listeners, 0, `nobody listens to the signal of ${script.request.id} any more`);
    }
    this.#checker.check();
    const { sharedImages, preempted, resumed, shrunk, paid } = this.#scheduler.metrics;
    this.#counts.met("picture shared between requests", sharedImages);
    this.#counts.met("row that is not finite", scripted.notFiniteRows);
    this.#counts.met("preempted sequence", preempted);
    this.#counts.met("resumed sequence", resumed);
    this.#counts.met("cache written shorter because memory was short", shrunk);
    this.#counts.met("cache written shorter because it pays", paid);
    const { hitTokens, evictions } = this.#pool.gauges();
    this.#counts.met("prompt that began with cached pages", hitTokens > 0 ? 1 : 0);
    this.#counts.met("prefix entry that was evicted", evictions);
  }

  /** Actors that have mail. */
  #waiting(): ActorName[] {
    return this.#actors.names.filter((name) => this.#actors.waiting(name) > 0);
  }

  #circumstances(): Circumstances {
    return {
      deviceFaults: this.#device.faulty,
      deviceLost: this.#device.lost,
      draining: this.#draining,
      cancelling: this.#clock.now() >= this.#cancelAtMs,
      queueDeadline: this.#scenario.limits.queueTimeoutMs !== null,
      readerDeadline: this.#scenario.limits.readerTimeoutMs !== null,
      tokensBounded: this.#scenario.limits.waitingTokensMax < WAITING_TOKENS_UNBOUNDED,
    };
  }
}
