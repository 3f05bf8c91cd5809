/** The clients of a world: who comes when, who leaves, and whether each of them got what it had to get. */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../lib/core/errors.ts";
import type { Random } from "../../lib/core/random.ts";
import type { Clock } from "../../lib/core/clock.ts";
import type { Scheduler } from "../../scheduler/messages.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import { BAD_HEADER, BAD_PIXELS } from "../support/scripted_text.ts";
import { Client } from "./client.ts";
import { between, chance, within } from "./draw.ts";
import { Expectation } from "./expectation.ts";
import type { FaultCounts } from "./faults.ts";
import { MAX_MODEL_LEN, type Scenario } from "./scenario.ts";
import { type ClientScript, contentOf, promptTokens } from "./traffic.ts";
import { checkAnswer, type Circumstances } from "./verdict.ts";

interface Member {
  readonly client: Client;
  readonly expectation: Expectation;
  readonly cameAfterLoss: boolean;
  sequence: Sequence | null;
  paused: boolean;
}

export interface CrowdParts {
  readonly scheduler: Scheduler;
  readonly scenario: Scenario;
  readonly clock: Clock;
  readonly random: Random;
  readonly counts: FaultCounts;
  /** Who comes next. */
  readonly next: () => ClientScript;
  readonly circumstances: () => Circumstances;
  /** Called when a request was answered to its end. */
  readonly onAnswered: (sequence: Sequence) => void;
}

export class Crowd {
  /** Of everyone who has come, in the order in which they came. */
  readonly clients: Client[] = [];
  /** The first broken promise. */
  failure: unknown = null;
  readonly #here = new Map<string, Member>();
  /** Of requests whose sequences have not been seen yet, whether their clients are still here or not. */
  readonly #expectations = new Map<string, Expectation>();
  #open = true;

  constructor(private readonly parts: CrowdParts) {}

  /** Clients that have not seen the end of their streams. */
  get size(): number {
    return this.#here.size;
  }

  /** Everyone comes at their time from now on, until {@link close}. `meanGapMs` lies between two arrivals. */
  open(meanGapMs: number): void {
    const { clock, counts, random, scenario: { arrivals } } = this.parts;
    clock.after(within(random, 0, 2 * meanGapMs), () => {
      if (!this.#open) return;
      let coming = 1;
      if (chance(random, arrivals.bursts)) {
        coming = between(random, 2, arrivals.burstMax);
        counts.met("burst of arrivals");
      }
      while (coming-- > 0 && this.size < arrivals.clientsMax) this.arrive();
      this.open(meanGapMs);
    });
  }

  /** Nobody comes any more. */
  close(): void {
    this.#open = false;
  }

  /** The next client comes now. */
  arrive(script = this.parts.next()): void {
    const { scheduler, scenario: { facts, limits }, clock } = this.parts;
    const { request } = script;
    const expectation = new Expectation(request, facts);
    const member: Member = {
      client: new Client(script, clock),
      expectation,
      cameAfterLoss: this.parts.circumstances().deviceLost,
      sequence: null,
      paused: false,
    };
    this.#here.set(request.id, member);
    this.clients.push(member.client);
    this.#count(script, expectation.refusal !== null);
    const full = scheduler.snapshot().waiting >= limits.waitingRequestsMax;
    member.client.play(scheduler).then(() => this.#end(member)).catch((error) => this.failure ??= error);
    const { error } = member.client.record;
    if (error === null) this.#expectations.set(request.id, expectation);
    if (error?.code !== "draining") {
      assert.equal(error?.code === "rate_limit_exceeded", full, `${request.id} waits if the queue has room`);
    }
    // Its sequence is in intake as long as nothing has been delivered.
    if (script.leaves?.state === "intake" && member.client.record.ending === null) {
      this.#leave(member, "intake");
    }
  }

  /** The sequence of a request has been seen. Answers what it must get. */
  meet(sequence: Sequence): Expectation {
    const { id } = sequence.request;
    const expectation = this.#expectations.get(id);
    assert(expectation !== undefined, `${id} comes to intake once`);
    this.#expectations.delete(id);
    const member = this.#here.get(id);
    if (member !== undefined) member.sequence = sequence;
    return expectation;
  }

  /** Those who leave in the state that their sequence is in, leave. */
  look(): void {
    for (const member of this.#here.values()) {
      const { client: { script: { leaves }, record, gone }, sequence } = member;
      if (sequence === null || sequence.ended) continue;
      if (sequence.channel.full && !member.paused) {
        member.paused = true;
        if (!gone) this.parts.counts.met("reader so slow that its sequence paused");
      }
      if (leaves === null || gone || sequence.state !== leaves.state) continue;
      if (record.ids.length < leaves.afterTokens) continue;
      // Only of these does the device hold the sequence itself.
      const held = sequence.state === "prefill" || sequence.state === "compress" ||
        sequence.state === "decode";
      if (!held || sequence.inStep === leaves.inStep) this.#leave(member, sequence.state);
    }
  }

  #leave({ client, sequence }: Member, state: Sequence["state"]): void {
    const { how } = client.script.leaves!;
    client.leave(how);
    if (state !== "ended") this.parts.counts.met(`${how} in ${state}`);
    if (sequence !== null && sequence.sampled > 0 && sequence.pages === null) {
      this.parts.counts.met("reader that leaves while its sequence is preempted");
    }
  }

  #end(member: Member): void {
    const { client, expectation, sequence, cameAfterLoss } = member;
    const { circumstances, counts, onAnswered } = this.parts;
    this.#here.delete(client.script.request.id);
    const world = circumstances();
    checkAnswer(client, expectation, pressurePoint(sequence), { ...world, deviceLost: cameAfterLoss });
    const { ending, error } = client.record;
    if (client.stopped) counts.met("reader that stopped for ever");
    if (ending === "finished" && sequence !== null) onAnswered(sequence);
    if (ending === "refused") {
      counts.met(error!.code === "draining" ? "request refused by a server that drains" : "queue overflow");
    }
    if (ending === "failed") this.#countFailure(error!.code, cameAfterLoss);
    if (ending === "cancelled" && !client.gone) counts.met("request cancelled by the drain's deadline");
  }

  #countFailure(code: ErrorCode, cameAfterLoss: boolean): void {
    const { counts } = this.parts;
    if (code === "engine_failed" && cameAfterLoss) counts.met("request failed by the lost device");
    if (code === "queue_timeout") counts.met("request that waited past the queue's deadline");
    if (code === "reader_timeout") counts.met("reader that was given up");
    if (code === "rate_limit_exceeded") counts.met("overflow of waiting tokens");
  }

  #count({ request }: ClientScript, refused: boolean): void {
    const { counts } = this.parts;
    const pictures = contentOf(request).filter((part) => part.type === "image").map(({ bytes }) => bytes);
    if (new Set(pictures.map(String)).size < pictures.length) counts.met("same picture twice in one prompt");
    if (pictures.some((bytes) => bytes[0] === BAD_HEADER)) counts.met("picture with a bad header");
    if (pictures.some((bytes) => bytes[0] === BAD_PIXELS)) counts.met("picture with bad pixels");
    const tokens = promptTokens(request) + (request.maxTokens ?? 1);
    if (tokens === MAX_MODEL_LEN && !refused) counts.met("prompt at the exact limit");
    else if (tokens > MAX_MODEL_LEN) counts.met("prompt above the limit");
    else if (refused && pictures.length === 0 && tokens > 1) {
      counts.met("request that the pool can never hold");
    }
  }
}

/** Tokens that a sequence had stored when it was to be compressed because memory was short; null when it never was. */
export function pressurePoint(sequence: Sequence | null): number | null {
  const point = sequence?.compressionPoint ?? null;
  return point !== null && sequence?.prompt.compression?.underPressure ? point.atTokens : null;
}
