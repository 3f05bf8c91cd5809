/** How long things take in a world of virtual time, from its costs. */
import { callMsMax, SLOT_TOKENS } from "./costs.ts";
import { MAX_MODEL_LEN, type Scenario } from "./scenario.ts";

/** Members of a step at most. */
const ITEMS_MAX = 8;

/** Device time of a request of middling length when some others share its steps, milliseconds. */
export function requestMs({ costs: { forward } }: Scenario): number {
  // Twenty prompt tokens in one step and a dozen decode steps, half of whose fixed parts others pay.
  return Math.max(5, 5 * forward.fixedMs + 13 * forward.itemMs + 33 * forward.tokenMs);
}

/**
 * Time in which so many requests end when nobody comes any more, milliseconds. Every step brings at least one request on by
 * a token; readers, pictures and windows may wait between two steps.
 */
export function restMsMax({ costs, facts, windows, drainMs }: Scenario, requests: number): number {
  const stepMs = Math.max(
    callMsMax(costs.forward, ITEMS_MAX, facts.stepTokensMax + SLOT_TOKENS * ITEMS_MAX * MAX_MODEL_LEN),
    callMsMax(costs.encode, ITEMS_MAX, facts.embeddingRows),
    callMsMax(costs.compress, ITEMS_MAX, ITEMS_MAX * MAX_MODEL_LEN),
  );
  const windowMs = windows.prefill.waitMs + windows.encode.waitMs + windows.compress.waitMs;
  const readMs = MAX_MODEL_LEN * READ_MS_MAX + GONE_MS_MAX;
  return drainMs + requests * (3 * MAX_MODEL_LEN * (stepMs + windowMs) + readMs + costs.prepareMs);
}

/** Longest pause of a slow reader, and time after which one that does not read at all has gone. */
export const READ_MS_MAX = 80;
export const GONE_MS_MAX = 400;
