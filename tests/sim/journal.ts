/** The last things that happened in a world, to be read when it fails. */
import type { StageMessages } from "../../scheduler/stage.ts";
import type { Sequence } from "../../scheduler/sequence.ts";
import type { PlanRecord } from "../../scheduler/trace.ts";

/** What is told of a failed world. */
const DELIVERIES_TOLD = 50;
/** Plans and calls of the device stand between deliveries. */
const LINES_KEPT = 8 * DELIVERIES_TOLD;

interface Line {
  readonly text: string;
  readonly delivery: boolean;
}

export class Journal {
  /** A ring. */
  readonly #lines: Line[] = [];
  #next = 0;
  #lastPlan = "";

  /** A message is delivered to `actor`. */
  delivered(nowMs: number, actor: string, message: string): void {
    this.#add(nowMs, actor, message, true);
    this.#lastPlan = "";
  }

  /** What was decided; the same decision again, with nothing between, says nothing new. */
  planned(nowMs: number, plan: string): void {
    if (plan !== this.#lastPlan) this.#add(nowMs, "plan", plan, false);
    this.#lastPlan = plan;
  }

  /** What else happens: the device begins a call, the world ends. */
  noted(nowMs: number, who: string, what: string): void {
    this.#add(nowMs, who, what, false);
  }

  /** The last deliveries and what lies between them, oldest first. */
  toString(): string {
    const from = this.#next % LINES_KEPT;
    const lines = [...this.#lines.slice(from), ...this.#lines.slice(0, from)];
    let told = 0, first = lines.length;
    while (first > 0 && told < DELIVERIES_TOLD) if (lines[--first].delivery) told++;
    return lines.slice(first).map(({ text }) => text).join("\n");
  }

  #add(nowMs: number, who: string, what: string, delivery: boolean): void {
    const text = `${nowMs.toFixed(2).padStart(10)} ms  ${who.padEnd(9)} ${what}`;
    this.#lines[this.#next++ % LINES_KEPT] = { text, delivery };
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
