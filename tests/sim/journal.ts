/** The last things that happened in a world, to be read when it fails. */
import type { StageMessages } from "../../scheduler/stage.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import type { PlanRecord } from "../../scheduler/trace.ts";

/** Deliveries and device calls: at least every other one is a delivery. */
const ENTRIES_MAX = 100;

export class Journal {
  readonly #lines: string[] = [];
  #next = 0;

  add(nowMs: number, who: string, what: string): void {
    this.#lines[this.#next++ % ENTRIES_MAX] = `${nowMs.toFixed(2).padStart(10)} ms  ${who.padEnd(9)} ${what}`;
  }

  /** Oldest first. */
  toString(): string {
    const from = this.#next % ENTRIES_MAX;
    return [...this.#lines.slice(from), ...this.#lines.slice(0, from)].join("\n");
  }
}

/** Whom a message is about. */
function subjectsOf(message: StageMessages[keyof StageMessages]): readonly Sequence[] {
  if ("sequence" in message) return [message.sequence];
  if ("sequences" in message) return message.sequences;
  if ("chunks" in message) return message.chunks.map(({ sequence }) => sequence);
  if ("picture" in message) return [...message.picture.holders];
  if ("pictures" in message) return message.pictures.flatMap(({ holders }) => [...holders]);
  return [];
}

export function describeSequence(
  { request, state, inStep, stored, sampled, slots, pages }: Sequence,
): string {
  const number = request.id.slice(request.id.indexOf("-") + 1);
  const held = pages === null ? "no" : `${pages.held}`;
  return `#${number} ${state}${inStep ? "*" : ""} ${stored}+${sampled} in ${slots[0] ?? 0} (${held} pages)`;
}

/** `stepped failed: #3 decode* 12+4 in 9 (6 pages)`: type; number, state (* in a step), tokens stored and sampled, slots. */
export function describeMessage(message: StageMessages[keyof StageMessages]): string {
  const outcome = "outcome" in message && !message.outcome.ok ? " failed" : "";
  return `${message.type}${outcome}: ${subjectsOf(message).map(describeSequence).join(", ")}`;
}

/** `prefill of 2 with 31 tokens behind decode, 12 of 64 pages available, 3 promised; held: encode latency 9>4`. */
export function describePlan({ step, items, tokens, after, pages, held }: PlanRecord): string {
  const size = step === "idle" ? "" : ` of ${items}${tokens === undefined ? "" : ` with ${tokens} tokens`}`;
  return `${step}${size}${
    after === null ? "" : ` behind ${after}`
  }, ${pages.available} of ${pages.total} pages ` +
    `available, ${pages.promised} promised${held.length === 0 ? "" : `; held: ${held.join(", ")}`}`;
}
