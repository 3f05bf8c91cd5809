/** Which faults a simulation has met, and how often. A fault that is drawn but never met proves nothing. */
import { LEAVE_STATES, LEAVE_WAYS } from "./traffic.ts";

const LEAVES = LEAVE_STATES.flatMap((state) => LEAVE_WAYS.map((how) => `${how} in ${state}` as const));

export const FAULTS = [
  ...LEAVES,
  "reader so slow that its sequence paused",
  "reader that stopped for ever",
  "burst of arrivals",
  "prompt at the exact limit",
  "prompt above the limit",
  "request that the pool can never hold",
  "same picture twice in one prompt",
  "picture shared between requests",
  "picture with a bad header",
  "picture with bad pixels",
  "queue overflow",
  "world with a pool of a few pages",
  "failed encode call",
  "failed forward call",
  "failed compress call",
  "row that is not finite",
  "device lost",
  "request failed by the lost device",
  "drain while requests run",
  "request cancelled by the drain's deadline",
  "close while requests run",
  "request refused by a server that drains",
  "request that waited past the queue's deadline",
  "reader that was given up",
  "overflow of waiting tokens",
  "preempted sequence",
  "resumed sequence",
  "compressed sequence that was preempted",
  "compressed sequence that was resumed",
  "cache of packed slots",
  "cache written shorter because memory was short",
  "cache written shorter because it pays",
  "reader that leaves while its sequence is preempted",
  "prompt that began with cached pages",
  "prefix entry that was evicted",
  "second step handed over while one runs",
  "world of the policy dynamic",
  "world of the policy fcfs",
  "world of the policy static",
  "world without a prefix cache",
] as const;
export type Fault = typeof FAULTS[number];

export class FaultCounts {
  readonly #counts = new Map<Fault, number>(FAULTS.map((fault) => [fault, 0]));

  met(fault: Fault, times = 1): void {
    this.#counts.set(fault, this.#counts.get(fault)! + times);
  }

  add(other: FaultCounts): void {
    for (const [fault, count] of other.#counts) this.met(fault, count);
  }

  /** Faults with their counts, in the order of the list. */
  entries(): readonly (readonly [Fault, number])[] {
    return [...this.#counts];
  }

  missing(): Fault[] {
    return this.entries().filter(([, count]) => count === 0).map(([fault]) => fault);
  }
}
